"""Checks of names: does everything that a policy names exist, and may it be named there?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from remediator.connectors.people import PAGE
from remediator.core.catalog import Command, Escape, Kind
from remediator.core.expression import Path, Template
from remediator.documents.finding import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.known import SCALARS
from remediator.policyfiles.checks.statements import columns
from remediator.policyfiles.checks.uses import FROM_ALERT, Look, Problem, Seen, Use, templates


def unknown_operation(look: Look) -> Iterator[Problem]:
    """P101: an operation that no connector offers."""
    for use in look.uses:
        known = {name: one for name, one in look.catalog.operations.items() if not one.internal}
        if use.operation not in known:
            remedy = nearest(use.operation, known)
            yield Problem((*use.place, "use"), f"unknown operation {use.operation!r}", remedy)


def unknown_connection(look: Look) -> Iterator[Problem]:
    """P102: no via, or one that the config does not have."""
    for use in look.uses:
        operation = look.operation(use)
        if operation is None or look.connection(use):
            continue
        fitting = [one.name for one in look.catalog.connections.values() if one.kind == operation.connector]
        if not use.connection:
            yield Problem(
                (*use.place, "use"), f"{use.operation} needs via: a connection", nearest("", fitting)
            )
        elif use.written_via:
            remedy = nearest(use.connection, fitting)
            yield Problem((*use.place, "via"), f"unknown connection {use.connection!r}", remedy)
        else:
            problem = f"{use.operation} needs the connection {use.connection!r}, which is not configured"
            yield Problem((*use.place, "use"), problem, "configure it in remediator.yaml")


def wrong_connection(look: Look) -> Iterator[Problem]:
    """P103: an operation through a connection of another kind."""
    for use in look.uses:
        operation, connection = look.operation(use), look.connection(use)
        if operation and connection and operation.connector != connection.kind:
            problem = (
                f"{use.operation} cannot go via {connection.name}, which is a {connection.kind} connection"
            )
            place = (*use.place, "via" if use.written_via else "use")
            yield Problem(place, problem, f"name a {operation.connector} connection")


def wrong_kind(look: Look) -> Iterator[Problem]:
    """P104: an action where only a probe may stand, or the other way round."""
    for use in look.uses:
        operation = look.operation(use)
        if operation and operation.kind is not use.wants:
            problem = (
                f"{use.operation} is {_article(operation.kind)}, and {_article(use.wants)} must stand here"
            )
            yield Problem((*use.place, "use"), problem)


def unknown_command(look: Look) -> Iterator[Problem]:
    """P108: a command or statement that the connection does not declare, or a slot that it does not have."""
    for use in look.uses:
        operation, connection = look.operation(use), look.connection(use)
        noun = next((one for one in ("command", "statement") if one in use.arguments), "")
        written = use.arguments.get(noun)
        if operation is None or connection is None or operation.connector != connection.kind:
            continue
        if "slots" not in operation.params or not isinstance(written, Template) or not written.literal:
            continue
        name, place = written.text, (*use.place, "with")
        command = connection.commands.get(name)
        if command is None:
            problem = f"{connection.name} declares no {noun} {name!r}"
            yield Problem((*place, noun), problem, nearest(name, connection.commands))
        elif command.reads is not (operation.kind is Kind.PROBE):
            does = "only reads" if command.reads else "is not declared as one that only reads"
            yield Problem((*place, noun), f"{name} of {connection.name} {does}, so it cannot stand here")
        else:
            yield from _slots(use, noun, command)


def _slots(use: Use, noun: str, command: Command) -> Iterator[Problem]:
    given, place, name = use.arguments.get("slots", {}), (*use.place, "with"), use.arguments[noun].text
    if not isinstance(given, dict):
        return
    for slot in sorted(command.slots - given.keys()):
        yield Problem((*place, noun), f"{name} needs a value for its slot {slot!r}", f"slots: {{{slot}: …}}")
    for slot in given:
        if slot not in command.slots:
            yield Problem(
                (*place, "slots", slot),
                f"{name} has no slot {slot!r}",
                nearest(slot, command.slots),
                on_key=True,
            )


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def unknown_name(look: Look) -> Iterator[Problem]:
    """P110: an expression that names what is not there, or not visible there."""
    for seen in look.expressions:
        for path in seen.expression.paths:
            if path.root not in seen.sees:
                yield _invisible(seen, path)


def _invisible(seen: Seen, path: Path) -> Problem:
    if path.root in FROM_ALERT and "with" in seen.place:
        remedy = "declare it under params: that is how alert data reaches an operation"
        problem = f"{path.root} cannot be seen by an operation"
    else:
        remedy = nearest(path.root, seen.sees)
        problem = f"{path.root!r} is not known here"
    return Problem(seen.place, problem, remedy, seen.shift + path.offset)


def unknown_field(look: Look) -> Iterator[Problem]:
    """P111: a field that the probe does not read, or a column that its SELECT does not name."""
    for seen in look.expressions:
        for path in seen.expression.paths:
            if path.root in seen.sees and (missed := _missed(look, seen, path)):
                of, key, known = missed
                yield Problem(
                    seen.place, f"{of} has no {key!r}", nearest(key, known), seen.shift + path.offset
                )
    yield from _unread_by_watch(look)


def _missed(look: Look, seen: Seen, path: Path) -> tuple[Path, str | int, frozenset[str]] | None:
    """The key of a path that is not there, what it is asked of, and what that has."""
    if path.root == "each":
        written = look.policy.steps[str(seen.place[1])].for_each
        whole = written.whole if written is not None else None
        if whole is None or not whole.is_path:
            return None
        listed = whole.paths[0]
        at, known = 0, _of_item(look, _behind(look, seen, listed.root), listed.keys)
    else:
        use = _behind(look, seen, path.root)
        at, known = 0, _fields(look, use)
        if use is not None and known and path.keys[:1] and path.keys[0] in known:
            at = 1 if path.keys[0] == "row" else 2
            known = _of_item(look, use, path.keys[:1])
    if not known or len(path.keys) <= at or path.keys[at] in known:
        return None
    return Path(path.root, path.keys[:at]), path.keys[at], known


def _behind(look: Look, seen: Seen, root: str) -> Use | None:
    """The probe behind a name."""
    place: Place = ("diagnose", root)
    if root in ("verify", "before"):  # before: what the step's own proof read, in those of its undo too
        place = seen.place[:-1] if root == "verify" else (*seen.place[:2], "verify")
    return next((one for one in look.uses if one.place == place), None)


def _fields(look: Look, use: Use | None) -> frozenset[str]:
    """What a probe reads; empty when it may read anything."""
    operation = look.operation(use) if use else None
    return frozenset((*operation.reads, "ok", "at")) if operation and operation.reads else frozenset()


def _of_item(look: Look, use: Use | None, keys: tuple[str | int, ...]) -> frozenset[str]:
    """What a row has, or one of the series; empty when it may have anything."""
    operation = look.operation(use) if use else None
    if use is None or operation is None or len(keys) != 1 or keys[0] not in operation.reads:
        return frozenset()
    if keys[0] in ("row", "rows"):
        return columns(look, use)
    return frozenset({"labels", "value"}) if keys[0] == "series" else frozenset()


def _unread_by_watch(look: Look) -> Iterator[Problem]:
    """What a watch's rows are known by, and params are taken from, must be among its columns."""
    watch = look.policy.watch
    use = next((one for one in look.uses if one.place == ("watch",)), None)
    known = columns(look, use) if use else frozenset()
    if watch is None or not known:
        return
    for number, name in enumerate(watch.key):
        if name not in known:
            yield Problem(("watch", "key", number), f"the watch reads no {name!r}", nearest(name, known))
    labels = known | {"alertname"}
    for name, param in look.policy.params.items():
        for path in param.from_.paths:
            if path.root == "labels" and path.keys and path.keys[0] not in labels and not param.has_default:
                problem = f"the watch reads no {path.keys[0]!r}"
                yield Problem(("params", name, "from"), problem, nearest(path.keys[0], known), path.offset)


def no_list(look: Look) -> Iterator[Problem]:
    """P113: for_each over what is certainly no list."""
    for seen in look.expressions:
        if seen.place[2:] != ("for_each",) or not seen.expression.is_path:
            continue
        path = seen.expression.paths[0]
        use = _behind(look, seen, path.root)
        plain = {"ok", "at", "row", *SCALARS.get(use.operation if use else "", ())}
        if path.root in ("target", "now") or (path.root in look.policy.params and not path.keys):
            problem = f"{path} is one value, and no list"
        elif use is not None and (not path.keys or (len(path.keys) == 1 and path.keys[0] in plain)):
            problem = f"{path} is no list"
        else:
            continue
        remedy = (
            "name a list, such as ${failed.rows} of a postgres.query, or ${up.series} of a prometheus.query"
        )
        yield Problem(seen.place, problem, remedy, seen.shift + path.offset)


def unknown_result(look: Look) -> Iterator[Problem]:
    """P112: steps.X where X is no step, or anything of it but its result."""
    for seen in look.expressions:
        for path in seen.expression.paths:
            if path.root != "steps" or path.root not in seen.sees:
                continue
            offset = seen.shift + path.offset
            if not path.keys or path.keys[0] not in look.policy.steps:
                step = path.keys[0] if path.keys else ""
                yield Problem(seen.place, f"no step {step!r}", nearest(step, look.policy.steps), offset)
            elif path.keys[1:2] != (word := _result(look, path.keys[0]),):
                remedy = f"write {Path('steps', (path.keys[0], word))}"
                yield Problem(seen.place, f"of {_kind(word)} only its {word} can be seen", remedy, offset)


def _result(look: Look, step: str | int) -> str:
    return "results" if look.policy.steps[str(step)].for_each is not None else "result"


def _kind(word: str) -> str:
    return "a repeated step" if word == "results" else "a step"


def clash(look: Look) -> Iterator[Problem]:
    """P120: probes, steps and params share one namespace."""
    taken: dict[str, str] = {}
    for section in ("params", "diagnose", "steps"):
        for name in getattr(look.policy, section):
            if name in taken:
                yield Problem((section, name), f"{name!r} is already a name under {taken[name]}", on_key=True)
            taken.setdefault(name, section)


def unknown_kind(look: Look) -> Iterator[Problem]:
    """P130: a target whose kind is not literal text, or not declared in the config."""
    text = look.policy.target.text
    kind, slash, rest = text.partition("/")
    known = look.catalog.targets
    if not slash or not kind or not rest or "${" in kind:
        yield Problem(("target",), f"{text!r} is not a target", "write kind/id, the kind as plain text")
    elif kind not in known:
        remedy = f"declare it under targets in remediator.yaml; {nearest(kind, known)}"
        yield Problem(("target",), f"unknown kind of target {kind!r}", remedy)


def unknown_chain(look: Look) -> Iterator[Problem]:
    """P131: an escalation chain that the config does not have."""
    known = look.catalog.escalations
    for chain, written, place, add in _paged(look):
        if chain in known:
            continue
        if written:
            yield Problem(place, f"unknown escalation chain {chain!r}", nearest(chain, known))
        elif known:
            problem = f"there is no escalation chain {chain!r} to page"
            yield Problem(place, problem, f"add {add}; {nearest(chain, known)}", on_key=True)


def _paged(look: Look) -> Iterator[tuple[str, bool, Place, str]]:
    """Each chain that the policy, or a step of it, would page: is it written, where, and how to write it."""
    written = "page" in look.policy.model_fields_set
    yield look.policy.page.chain, written, ("page", "chain") if written else (), "page: {chain: …}"
    for use in look.uses:
        chain = use.arguments.get("chain", "")
        if use.operation != PAGE.name or (isinstance(chain, Template) and not chain.literal):
            continue
        place = (*use.place, "with", "chain") if str(chain) else (*use.place, "with")
        yield str(chain) or "default", bool(str(chain)), place, "chain: … under its with"


def unknown_budget(look: Look) -> Iterator[Problem]:
    """P136: a budget that the config does not have."""
    budget = look.policy.bounds.budget
    if budget is not None and budget not in look.catalog.budgets:
        remedy = f"define it under budgets in remediator.yaml; {nearest(budget, look.catalog.budgets)}"
        yield Problem(("bounds", "budget"), f"unknown budget {budget!r}", remedy)


def unknown_step(look: Look) -> Iterator[Problem]:
    """P140: a case that names a step which is not defined."""
    for number, case in enumerate(look.policy.decide):
        for index, name in enumerate(case.steps):
            if name not in look.policy.steps:
                place = ("decide", number, "try" if case.rungs else "do", index)
                yield Problem(place, f"unknown step {name!r}", nearest(name, look.policy.steps))


def unused_step(look: Look) -> Iterator[Problem]:
    """P141: a step that no case names."""
    used = {name for case in look.policy.decide for name in case.steps}
    for name in look.policy.steps:
        if name not in used:
            yield Problem(("steps", name), f"no case uses the step {name!r}", on_key=True)


_FOREIGN = re.compile(r"\{\{.*?\}\}")
_SHELL = re.compile(r"\{\{.*?\}\}|\$[A-Za-z_]\w*")


def foreign(look: Look) -> Iterator[Problem]:
    """P174: a template of another language, which stays as it is written: only ${…} is filled in."""
    written: list[tuple[Place, Template, re.Pattern[str]]] = [(("target",), look.policy.target, _SHELL)]
    for use in look.uses:
        operation = look.operation(use)
        for name, value in use.arguments.items():
            spec = operation.params.get(name) if operation else None
            form = _SHELL if spec is not None and spec.escape is Escape.PATH else _FOREIGN
            found = templates(value, (*use.place, "with", name))
            written.extend((place, template, form) for place, template in found)
    for place, template, form in written:
        texts = (piece for piece in template.pieces if isinstance(piece, str))
        if meant := next(filter(None, map(form.search, texts)), None):
            name = meant[0].strip("{}$. ")
            yield Problem(place, f"{meant[0]} stays as it is", f"write ${{{name}}}, or leave it out")
