"""``remediator policy preview``: what a policy would do now, read from the real connections. Never an act."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remediator.cli.client import given_params
from remediator.cli.table import changed, printed
from remediator.errors import PolicyError, RemediatorError

if TYPE_CHECKING:
    from remediator.core.catalog import Catalog
    from remediator.core.planning import Address
    from remediator.core.policy import Policy
    from remediator.engine.looking import Looks
    from remediator.engine.rehearsal import CaseSeen, GateSeen, ReadingSeen, Rehearsal, StepSeen
    from remediator.policyfiles.loading import LoadedPolicy

FINE, WOULD_REFUSE, COULD_NOT_RUN = 0, 1, 2
MOST_ITEMS = 10
"""Items of one repeated step that are told one by one."""


def add_command(commands: Any) -> None:
    """Add ``preview`` to ``policy``."""
    preview = commands.add_parser(
        "preview",
        help="what a policy would do now: reads and decides against the real connections, acts on nothing",
        description="Reads the policy's probes, asks its decision table and previews its steps, through the "
        "connections of the config; sends no act. It needs no daemon, and asks nothing that only a daemon "
        "knows: bounds, halts, other runs. Exit status: 0 fine, 1 the policy would refuse, 2 could not run.",
    )
    preview.add_argument("policy", help="the name of a policy in the config's folder")
    preview.add_argument("--target", default="", help="kind/id; params are read from it where they can be")
    preview.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a param of the policy; once for each",
    )
    preview.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    preview.add_argument("--json", action="store_true", help="print everything as JSON")
    preview.set_defaults(run=run_preview)


def run_preview(args: argparse.Namespace) -> int:
    """0: fine, 1: the policy would refuse, 2: it could not be tried."""
    import msgspec

    from remediator import connectors
    from remediator.config_file import load as load_config
    from remediator.telemetry import configure_logging

    secrets: set[str] = set()
    try:
        config = load_config(args.config, secrets=secrets, check=connectors.problems)
        configure_logging("warning", json=False, secrets=secrets)
        catalog = connectors.catalog(config)
        loaded = _policy(args.policy, args.config.resolve().parent / config.policies, catalog)
        address = _address(loaded.policy, args.target, given_params(args.param))
        found = asyncio.run(_rehearsed(config, secrets, catalog, loaded, address))
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    printed(args, msgspec.to_builtins(found), "\n".join(_told(found)))
    return WOULD_REFUSE if found.refusal else FINE


async def _rehearsed(
    config: Any, secrets: set[str], catalog: Catalog, loaded: LoadedPolicy, address: Address
) -> Rehearsal:
    """Of each connection only its reading half is handed on, and no answer with a secret in it."""
    from remediator import connectors
    from remediator.clock import SystemClock
    from remediator.engine.hiding import Discreet, hider
    from remediator.engine.looking import Looking, OnlyLooks
    from remediator.engine.rehearsal import Rehearser

    live = connectors.build(config)
    hide = hider(secrets)
    looks: Mapping[str, Looks] = {name: OnlyLooks(Discreet(one, hide)) for name, one in live.items()}
    clock = SystemClock()
    try:
        looking = Looking(looks, clock, lambda: catalog)
        return await Rehearser(looking, catalog, clock.now).rehearse(loaded.policy, loaded.version, address)
    finally:
        for one in live.values():
            await one.close()


def _policy(name: str, folder: Path, catalog: Catalog) -> LoadedPolicy:
    """The policy of this name; those beside it need not be right."""
    from remediator.policyfiles.loading import load

    loaded = load([folder], catalog)
    found = next((one for one in loaded.policies if one.policy.name == name), None)
    if found is not None:
        return found
    there = ", ".join(sorted(one.policy.name for one in loaded.policies)) or "none"
    wrong = "".join(f"\n{one}" for one in loaded.errors)
    raise PolicyError(str(folder), f"there is no policy {name} without errors; there are {there}{wrong}")


def _address(policy: Policy, target: str, given: dict[str, str]) -> Address:
    """What it would be about. Raises PolicyError with everything that is missing or does not fit."""
    from remediator.core import byhand, planning
    from remediator.core.parameters import fit
    from remediator.core.run import Refusal

    traced = byhand.traced(policy, target, given) if target else {}
    if isinstance(traced, Refusal):
        raise PolicyError("--target", traced.reason)
    params, wrong = fit(policy.params, {**traced, **given})
    if wrong:
        told = (f"--param {one.name}=…: {one.problem}; {one.remedy}" for one in wrong)
        raise PolicyError("", "\n".join(told))
    address = planning.aimed(policy, params)
    if isinstance(address, Refusal):
        raise PolicyError("--param", address.reason)
    if target and address.target != target:
        raise PolicyError("--target", f"these params lead to {address.target}, not to {target}")
    return address


# ── In words ──────────────────────────────────────────────────────────────────────────────────────


def _told(found: Rehearsal) -> list[str]:
    from remediator.core.steps import base_of

    about = f"{found.policy} on {found.target}  (mode {found.mode}), {found.at:%Y-%m-%d %H:%M:%S} UTC"
    params = ", ".join(f"{name}={value}" for name, value in found.params.items())
    lines = [about, *([f"params: {params}"] if params else []), "", "readings"]
    lines += [f"  {name}: {_reading(one)}" for name, one in found.readings.items()]
    lines += ["  (none)"] * (not found.readings)
    lines += ["", "decision table", *(f"  {_case(one)}" for one in found.cases)]
    lines += ["  (not asked)"] * (not found.cases)
    if found.steps:
        how = "tried one after the other, until one is proved" if found.rungs else "all, in order"
        lines += ["", f"steps of case {found.case}: {how}"]
        for base, group in groupby(found.steps, lambda one: base_of(one.step)):
            items = list(group)
            lines += [line for one in items[:MOST_ITEMS] for line in _step(one)]
            lines += [f"  … {len(items) - MOST_ITEMS} more items of {base}; --json has them all"] * (
                len(items) > MOST_ITEMS
            )
    return [*lines, "", _sum(found), "Nothing was changed."]


def _sum(found: Rehearsal) -> str:
    from remediator.core.repeating import named

    if found.refusal:
        return f"It would refuse: {found.refusal}"
    if found.case is None:
        return "It would do nothing: no case holds"
    if not found.steps:
        return f"It would do nothing: {found.idle or f'so says case {found.case}'}"
    names = named(step.step for step in found.steps)
    words = {"observe": "It would only say so (mode observe)", "suggest": "It would ask before each step"}
    return f"{words.get(found.mode, 'It would start')}: {names}"


def _reading(one: ReadingSeen) -> str:
    if not one.ok:
        return f"could not be read: {one.error}"
    return _facts(one.value) or "nothing"


def _case(one: CaseSeen) -> str:
    if one.error:
        return f"case {one.number} has no answer: {one.error}"
    seen = _facts(one.values) if one.values else ""
    held = "holds" if one.holds else "does not hold"
    return f"case {one.number} {held}: {one.when or 'always'}" + (f"  ({seen})" if seen else "")


def _facts(values: Mapping[str, Any]) -> str:
    from remediator.web.lettering import facts

    return ", ".join(f"{name} = {text[:200]}" for name, text in facts(values))


def _step(step: StepSeen) -> list[str]:
    lines = [f"  {step.step} ({step.risk})" + (f": {step.summary}" if step.summary else "")]
    lines.append(f"    {_gate(step.gate, step.waived)}")
    if step.later:
        lines.append(f"    can be told only once an earlier step is done: {step.later}")
    if step.error:
        lines.append(f"    {step.error}")
    if step.picture is not None:
        would = f"would change {step.picture.count}: " if step.picture.count else ""
        lines.append(f"    {would}{step.picture.text}")
        lines += [f"      {changed(row)}" for row in step.picture.rows]
        left = step.picture.count - len(step.picture.rows)
        lines += [f"      … {left} more"] * (left > 0)
    return lines


def _gate(gate: GateSeen | None, waived: str) -> str:
    from remediator.core.expression import format_duration

    if gate is None:
        return f"needs no approval; waived: {waived}" if waived else "needs no approval"
    asked = (f"{count} of {role} ({_people(gate.people[role])})" for role, count in gate.votes.items())
    within = format_duration(timedelta(seconds=gate.within_s))
    together = f", one gate for {', '.join(gate.steps)}" if len(gate.steps) > 1 else ""
    return f"needs {' and '.join(asked)} within {within}{together}"


def _people(names: list[str]) -> str:
    return ", ".join(names) or "nobody has it"
