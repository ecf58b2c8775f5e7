"""A backtest's result for people: as text for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from remediator.core.counting import counted
from remediator.core.letters import plainly
from remediator.policyfiles.backtest.result import PolicySeen, Result

MOST_POLICIES = 60
"""Rows of a pull request's table; the most active first."""

HEADER = ("policy", "mode", "troubles", "runs", "how they ended", "steps", "asked", "pages", "stopped by")


def active(result: Result) -> list[PolicySeen]:
    """Policies that some alert concerned, those that would have done most first."""
    concerned = [one for one in result.policies if one.troubles or one.runs]
    return sorted(concerned, key=lambda one: (-one.acts, -one.runs, -one.troubles, one.policy))


def heading(result: Result) -> str:
    """What was played, in a line."""
    return (
        f"{_several(result.troubles, 'trouble')} in {_grouped(result.deliveries)} deliveries, "
        f"{_time(result.since)} to {_time(result.until)} UTC, from {plainly(result.source)}"
    )


def summary(result: Result) -> str:
    """What came of it, in a line."""
    concerned = active(result)
    runs = sum(one.runs for one in concerned)
    parts = [
        f"{_several(runs, 'run')} of {_several(len(concerned), 'policy', 'policies')}",
        f"{_several(sum(one.acts for one in concerned), 'step')} started",
        f"people asked {_grouped(sum(one.gates for one in concerned))} times",
        _several(sum(one.pages for one in concerned), "page"),
    ]
    return ", ".join(parts)


def known(result: Result) -> str:
    """How much of what probes would have read is on record."""
    answered = sum(one.answered for one in result.policies)
    asked = answered + sum(one.unknown for one in result.policies)
    if not asked:
        return "No probe was asked for anything."
    share = f"{100 * answered / asked:.0f} %"
    return (
        f"Of {_several(asked, 'reading')} that probes would have been asked for, {_grouped(answered)} are on "
        f"record ({share})"
        + ("; what the other runs would have done is not known." if answered < asked else ".")
    )


def troubles(result: Result) -> list[str]:
    """What is wrong with the record itself."""
    told = []
    if result.skipped:
        told.append(f"{_several(result.skipped, 'record')} could not be read.")
    if result.disorder:
        told.append(f"Out of order: {result.disorder}.")
    if result.unresolved:
        who = "1 alert was" if result.unresolved == 1 else f"{_grouped(result.unresolved)} alerts were"
        told.append(f"{who} never resolved in the record: runs after their last delivery are guesses.")
    return told


def notes(result: Result) -> list[str]:
    """What a reviewer should not miss: overlaps, many at once, what is not known."""
    told = []
    for one in active(result):
        told += [
            f"{one.policy}: {_several(met.runs, 'run')} on a target while {met.policy} had one there, "
            f"such as {plainly(', '.join(met.targets[:2]))}"
            for met in one.overlaps
        ]
        if one.asks:
            probes = ", ".join(f"{probe} ({_grouped(runs)})" for probe, runs in one.asks.items())
            told.append(f"{one.policy}: would ask, and no record answers: {probes}")
    return told


def as_text(result: Result) -> str:
    """For a terminal."""
    rows = [HEADER, *(_row(one) for one in active(result))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    quiet = len(result.policies) - len(rows) + 1
    lines = [heading(result), summary(result), known(result)]
    lines += map(plainly, troubles(result))
    lines += ["", *(line.rstrip() for line in table)]
    lines += [f"No alert concerned {_several(quiet, 'policy', 'policies')}."] * bool(quiet)
    if told := notes(result):
        lines += ["", *map(plainly, told)]
    return "\n".join([*lines, "", "Assumed:", *(f"- {one}" for one in result.assumptions)])


def as_markdown(result: Result) -> str:
    """For a pull request."""
    concerned = active(result)
    shown, quiet = concerned[:MOST_POLICIES], len(result.policies) - len(concerned)
    lines = [
        "### Backtest",
        "",
        f"{_safe(heading(result))}.",
        "",
        f"**{summary(result)}.** {known(result)}",
        "",
    ]
    for one in troubles(result):
        lines += [_safe(one), ""]
    if shown:
        lines += [_line(HEADER), _line(["---"] * 2 + ["---:"] * 2 + ["---"] * 2 + ["---:"] * 2 + ["---"])]
        lines += [_line([f"`{one.policy}`", *map(_safe, _row(one)[1:])]) for one in shown]
        lines.append("")
    if len(concerned) > len(shown):
        lines += [f"… and {_several(len(concerned) - len(shown), 'more policy', 'more policies')}.", ""]
    if quiet:
        lines += [f"No alert concerned {_several(quiet, 'policy', 'policies')}.", ""]
    lines += [f"- {_safe(one)}" for one in notes(result)[:MOST_POLICIES]]
    lines += ["", "<details><summary>What is assumed</summary>", ""]
    lines += [f"- {_safe(one)}" for one in result.assumptions]
    return "\n".join([*lines, "", "</details>", ""])


def _row(one: PolicySeen) -> tuple[str, ...]:
    return (
        one.policy,
        one.mode,
        _grouped(one.troubles),
        _grouped(one.runs) + (f" ({one.at_once} at once)" if one.at_once > 1 else ""),
        _counts(one.outcomes),
        _counts(one.steps) + (f"; at most {one.acts_per_hour} an hour" if one.acts_per_hour else ""),
        _grouped(one.gates),
        _grouped(one.pages),
        _counts(one.stopped),
    )


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {_grouped(number)}" for name, number in counted.items()) or "–"


def _several(number: int, one: str, many: str = "") -> str:
    return counted(number, one, many, form=",")


def _grouped(number: int) -> str:
    return f"{number:,}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~@!&"})


def _safe(text: str) -> str:
    """Text from alerts and files, as Markdown shows it: no mark-up, no mention, no line of its own."""
    return plainly(text).translate(_MARKS)
