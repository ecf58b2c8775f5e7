"""The world. Which kinds of connections there are, what they offer, and the configured ones made live.

A new kind is one file here and one line in `KINDS`; the contract tests then hold it to its word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from remediator.config import Config, Rung
from remediator.connectors import (
    alertmanager,
    command,
    disk,
    dns,
    docker,
    http,
    kubernetes,
    mysql,
    people,
    postgres,
    prometheus,
    redis,
    slack,
    tls,
)
from remediator.connectors.settings import BLIND, Settings
from remediator.core.catalog import BUILT_IN, Catalog, Connection, Operation
from remediator.core.intention import Call
from remediator.errors import ConfigError, ConnectorError
from remediator.ports import Connector, ConnectorKind

KINDS: dict[str, ConnectorKind] = {
    kind.name: kind
    for kind in (
        alertmanager.KIND,
        command.KIND,
        disk.KIND,
        dns.KIND,
        docker.KIND,
        http.KIND,
        kubernetes.KIND,
        mysql.KIND,
        postgres.KIND,
        prometheus.KIND,
        redis.KIND,
        tls.KIND,
        slack.KIND,
        people.KIND,
    )
}


def operations() -> Iterator[Operation]:
    """Everything that any kind of connection can do."""
    for kind in KINDS.values():
        yield from kind.operations


def problems(config: Config, *, blind: bool = False) -> list[ConfigError]:
    """Everything that is wrong with the configured connections, each with its place."""
    return _read(config, blind=blind)[1]


def catalog(config: Config, *, blind: bool = False) -> Catalog:
    """What policies may name under this config. Raises ConfigError, all problems at once.

    blind: the config was read so, and nothing outside it is looked at (see `config_file.load`).
    """
    connections = {
        name: Connection(
            name,
            kind.name,
            settings.risks,
            settings.fence,
            settings.digest(),
            settings.reach,
            settings.limits,
            settings.declared,
            partial(_refused, kind, settings),
        )
        for name, (kind, settings) in _settled(config, blind=blind).items()
    }
    return Catalog.of(
        operations(),
        connections=connections,
        roles={name: frozenset(role.people) for name, role in config.roles.items()},
        covers={name: role.covers for name, role in config.roles.items() if role.cover},
        targets=frozenset(config.targets),
        escalations={name: _reached(rungs) for name, rungs in config.escalations.items()},
        budgets={name: budget.rate for name, budget in config.budgets.items()},
    )


def _refused(kind: ConnectorKind, settings: Settings, call: Call) -> str:
    judge = kind.judges.get(call.operation)
    try:
        if judge is not None:
            judge(call, settings)
    except ConnectorError as error:
        return error.told
    except ValueError as error:
        return str(error)
    return ""


def _reached(rungs: Iterable[Rung]) -> dict[str, timedelta]:
    """Role → when it is first reached."""
    return {one.role: one.after for one in sorted(rungs, key=lambda one: one.after, reverse=True)}


def build(config: Config) -> dict[str, Connector]:
    """A live connector for each connection, by name. Opens no socket; raises ConfigError as `catalog`."""
    return {name: kind.make(settings) for name, (kind, settings) in _settled(config).items()}


def connected(config: Config) -> dict[str, Settings]:
    """The settings of each connection, by name; nothing outside the config is looked at. Raises likewise."""
    return {name: settings for name, (_, settings) in _settled(config, blind=True).items()}


_Configured = dict[str, tuple[ConnectorKind, Settings]]


def _settled(config: Config, *, blind: bool = False) -> _Configured:
    configured, wrong = _read(config, blind=blind)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise ConfigError("", "\n".join(str(one) for one in wrong))
    return configured


def _read(config: Config, *, blind: bool = False) -> tuple[_Configured, list[ConfigError]]:
    configured: _Configured = {
        BUILT_IN["slack"]: (slack.KIND, slack.SlackSettings.of(config.slack)),
        BUILT_IN["people"]: (people.KIND, people.PeopleSettings()),
    }
    wrong: list[ConfigError] = []
    for name, written in config.connections.items():
        place = f"connections.{name}"
        if name in BUILT_IN.values():
            wrong.append(ConfigError(place, "this connection is built in", remedy="give yours another name"))
            continue
        kind = _kind(written.get("kind"))
        if isinstance(kind, str):
            wrong.append(ConfigError(f"{place}.kind", kind, remedy=_nearest(written.get("kind"))))
            continue
        if not blind and kind.needs and find_spec(kind.needs) is None:
            wrong.append(_uninstalled(place, kind))
            continue
        try:
            own = {key: value for key, value in written.items() if key != "kind"}
            settings = kind.settings.model_validate(own, context={BLIND: blind})
        except ValidationError as error:
            wrong.extend(_told(place, kind, error))
        else:
            configured[name] = (kind, settings)
    return configured, wrong


def _offered() -> list[str]:
    return sorted(kind.name for kind in KINDS.values() if not kind.built_in)


def _kind(written: object) -> ConnectorKind | str:
    if written is None:
        return "is missing"
    if not isinstance(written, str) or written not in _offered():
        return f"{written!r} is not a kind of connection"
    return KINDS[written]


def _uninstalled(place: str, kind: ConnectorKind) -> ConfigError:
    problem = f"{kind.name} needs the Python package {kind.needs}, which is not installed"
    return ConfigError(f"{place}.kind", problem, remedy=f"pip install 'remediator[{kind.name}]'")


def _nearest(written: object) -> str:
    near = get_close_matches(str(written), _offered(), n=1)
    return f"did you mean {near[0]}?" if near else f"write one of {', '.join(_offered())}"


def _told(place: str, kind: ConnectorKind, error: ValidationError) -> Iterator[ConfigError]:
    # Never the input: it may be a secret.
    for one in error.errors(include_url=False, include_input=False):
        where = ".".join((place, *(str(part) for part in one["loc"] if part != "[key]")))
        message = one["msg"].removeprefix("Value error, ")
        match one["type"]:
            case "extra_forbidden":
                yield ConfigError(where, "unknown key", remedy=_nearest_key(kind, one["loc"]))
            case "missing":
                yield ConfigError(where, "is missing", remedy=_described(kind, one["loc"]))
            case "tuple_type" | "list_type":
                yield ConfigError(where, "is no list", remedy=_described(kind, one["loc"]))
            case "dict_type" | "model_type":
                yield ConfigError(where, "is no map", remedy=_described(kind, one["loc"]))
            case _:
                yield ConfigError(where, message[:1].lower() + message[1:])


def _nearest_key(kind: ConnectorKind, where: tuple[Any, ...]) -> str:
    model = _model_at(kind.settings, where)
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = get_close_matches(str(where[-1]), known, n=1)
    whose = kind.name if model is kind.settings else str(where[-2])
    return f"did you mean {near[0]}?" if near else f"{whose} takes {', '.join(known)}"


def _described(kind: ConnectorKind, where: tuple[Any, ...]) -> str:
    field = _model_at(kind.settings, where).model_fields.get(str(where[-1]))
    return f"write {field.description}" if field is not None and field.description else ""


def _model_at(model: type[BaseModel], where: tuple[Any, ...]) -> type[BaseModel]:
    """The model to which the last name of a place belongs: of a map or list of models it is theirs."""
    for part in where[:-1]:
        field = model.model_fields.get(str(part))
        models = list(_models(field.annotation)) if field is not None else []
        model = next((one for one in models if str(part) == one.__name__), models[0]) if models else model
    return model


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
