"""The templates and what they may call. They see our words as templates and everything else as data."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from remediator.core.counting import counted
from remediator.web import assets, lettering, wording


def templates(package: str, folder: str) -> Environment:
    """The templates of a folder: everything in them is escaped, and a name that is not there is an error."""
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def environment() -> Environment:
    """Ours, made once; each is compiled when first used."""
    found = templates("remediator.web", "templates")
    found.filters |= {
        "shown": lettering.shown,
        "whole": lettering.whole,
        "plain": lettering.plain,
        "json": lettering.as_json,
        "facts": lettering.facts,
        "ago": wording.ago,
        "left": wording.left,
        "span": wording.span,
        "clock": wording.clock,
        "moment": wording.moment,
        "iso": wording.iso,
    }
    found.globals |= {
        "asset": assets.address,
        "link": lettering.link,
        "words": wording,
        "counted": counted,
    }
    return found


def render(template: str, **what: Any) -> str:
    """A page, or a part of one."""
    return environment().get_template(template).render(what)
