"""Stories about steps that are repeated for each item of a list: retry what failed."""

from __future__ import annotations

from typing import Any

from tests.core.campaign import policy, post, proof, undo
from tests.core.stories import Story

ROWS = {"failed": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}}}
LIST = "${failed.rows}"


def rows(*ids: object) -> dict[str, Any]:
    """What the probe reads: one row for each id."""
    return {"failed": {"rows": [{"id": one} for one in ids], "count": len(ids)}}


def each(path: str = "/retry/${each.id}", **rest: Any) -> dict[str, Any]:
    """A repeated step: one POST for each row."""
    return post(path, for_each=LIST, at_most=5) | rest


def story(*ids: object, steps: dict[str, Any] | None = None, **rest: Any) -> Story:
    """A run whose probe read these rows."""
    text = policy(steps or {"retry": each()}, diagnose=ROWS, **rest)
    return Story(text, given=rows(*ids))


def paths(told: Story) -> list[str]:
    """What was sent, in order."""
    return [act.call.args["path"] for act in told.acts]


def proved(**rest: Any) -> dict[str, Any]:
    """A repeated step that reads before and after each item."""
    return {"retry": each(verify=proof(within="1m"), **rest)}


def ladder(*ids: object, **rest: Any) -> Story:
    """A repeated rung, and one more after it."""
    steps = {"retry": each(undo=undo("/-r/${each.id}", after="1d"), **rest), "restart": post("/restart")}
    return story(*ids, steps=steps, decide=[{"try": ["retry", "restart"]}])
