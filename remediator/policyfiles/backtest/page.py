"""A backtest as a page: one file, without scripts or network, light or dark as its reader has it."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment

from remediator.policyfiles.backtest import picture, reports
from remediator.policyfiles.backtest.result import PolicySeen, Result
from remediator.web import lettering, wording
from remediator.web.rendering import templates

MOST_RUNS = 300
"""Runs that are listed one by one; the JSON has all of them."""


def as_html(result: Result) -> str:
    """The page."""
    concerned = reports.active(result)
    return (
        _environment()
        .get_template("report.html")
        .render(
            result=result,
            concerned=concerned,
            quiet=len(result.policies) - len(concerned),
            picture=picture.picture(result),
            width=picture.WIDTH,
            lane=picture.LANE,
            tones=picture.TONES,
            legend=_legend(concerned),
            shares={one.policy: _shares(one) for one in concerned},
            known=reports.known(result),
            span=wording.span((result.until - result.since).total_seconds()),
            notes=[*reports.troubles(result), *reports.notes(result)],
            listed=result.runs[:MOST_RUNS],
            totals={
                "runs": sum(one.runs for one in concerned),
                "acts": sum(one.acts for one in concerned),
                "gates": sum(one.gates for one in concerned),
                "pages": sum(one.pages for one in concerned),
            },
        )
    )


def _legend(concerned: list[PolicySeen]) -> dict[str, str]:
    """What the colours mean that are in the picture."""
    there = {picture.TONES.get(outcome, "calm") for one in concerned for outcome in one.outcomes}
    return {tone: picture.LEGEND[tone] for tone in picture.ORDER if tone in there}


def _shares(one: PolicySeen) -> list[tuple[str, str, int, float]]:
    """Tone, outcome, how many, and per cent of the policy's runs."""
    return [
        (picture.TONES.get(outcome, "calm"), outcome, runs, round(100 * runs / one.runs, 3))
        for outcome, runs in one.outcomes.items()
    ]


@cache
def _environment() -> Environment:
    found = templates("remediator.policyfiles.backtest", ".")
    found.filters |= {
        "shown": lettering.shown,
        "plain": lettering.plain,
        "grouped": lambda number: f"{number:,}",
        "moment": lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
    }
    return found
