"""The daemon's settings, `remediator.yaml`: models with their defaults, and reading them.

Secrets come by reference only, `${env:NAME}` or `${file:PATH}`; a blank one refuses to start. All
errors are told at once, each with its place and remedy.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from remediator.core.catalog import Cover
from remediator.core.durations import Rate, parse_duration


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _keeping(value: object) -> object:
    if value is None:
        raise ValueError("write a duration such as 400d, or keep")
    kept = None if value == "keep" else _duration(value)
    if isinstance(kept, timedelta) and kept < timedelta(days=1):
        raise ValueError("that is too soon; write 1d or more, or keep")
    return kept


def _not_blank(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("a secret may not be blank")
    return value


def _moment(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("write a time such as 2026-12-20T00:00Z")  # noqa: TRY004 -- pydantic's own kind
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"{value!r} is not a time; write one such as 2026-12-20T00:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"{value!r} says no time zone; write one such as 2026-12-20T00:00Z")
    return at


Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A time with its zone."""
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Keeping = Annotated[timedelta | None, BeforeValidator(_keeping)]
"""How long something is kept, a day at least; None: for ever."""
Secret = Annotated[SecretStr, AfterValidator(_not_blank)]
"""A value that never shows in logs, journals, cards, pages or metrics."""


SHORTEST_TOKEN = 16
"""Characters of an API token; a shorter one is nobody's. The config holds only its hash, and cannot tell."""


class Section(BaseModel):
    """A part of the settings: immutable, unknown keys are errors. Built when first read, to start fast."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Basic(Section):
    """Basic authentication of a sender."""

    username: str
    password: Secret


class Hook(Section):
    """Who may post alerts. Neither bearer nor basic: only on loopback."""

    bearer: Secret | None = None
    basic: Basic | None = None
    max_body: int = Field(default=32 * 1024 * 1024, gt=0, description="largest body, bytes")


class Hooks(Section):
    """The alert sources."""

    alertmanager: Hook = Hook()


class Person(Section):
    """Somebody who may vote. ``slack`` is TEAM/USER; ``token_sha256`` the hash of an API token.

    The token has `SHORTEST_TOKEN` characters or more.
    """

    slack: str | None = Field(default=None, pattern=r"^T[A-Z0-9]+/[UW][A-Z0-9]+$")
    token_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class Standby(Section):
    """One person who holds a role as well, until somebody is back."""

    by: str
    since: Moment | None = Field(default=None, alias="from", description="from when; at once if left out")
    until: Moment = Field(description="when it is over")

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.since is not None and self.since >= self.until:
            raise ValueError("it is over before it begins; write from, then until")
        return self


class Role(Section):
    """Who holds a role: a list of people, or these and their cover for an absence."""

    people: tuple[str, ...] = ()
    cover: tuple[Standby, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            return {"people": value}
        if isinstance(value, dict | Role):
            return value
        raise ValueError("write a list of people, or people: and cover:")

    @property
    def covers(self) -> tuple[Cover, ...]:
        """Who stands in, as the catalogue has it."""
        return tuple(Cover(one.by, one.until, one.since) for one in self.cover)


class Rung(Section):
    """One rung of an escalation chain: this role, that long after the page opened."""

    role: str
    after: Duration = timedelta(0)


class Slack(Section):
    """The Slack app. Without it the daemon works through page, API and command line.

    Clicks come through one door or both: Slack posts them, or they come over a socket that we open.
    """

    bot_token: Secret
    signing_secret: Secret | None = Field(default=None, description="proves the clicks that Slack posts")
    app_token: Secret | None = Field(default=None, description="opens the socket of Socket Mode")
    channel: str = Field(pattern=r"^[CG][A-Z0-9]+$", description="where cards and pages go")
    app_id: str | None = Field(default=None, description="refuse clicks of any other app")
    api_url: str = "https://slack.com/api/"

    @model_validator(mode="after")
    def _has_a_door(self) -> Self:
        if self.signing_secret is None and self.app_token is None:
            raise ValueError(
                "write signing_secret (Slack posts clicks to /hooks/slack/actions) or app_token "
                "(Socket Mode: no address of ours is needed), or both"
            )
        return self


class PageHook(Section):
    """The second road of a page: a webhook, such as a pager service's."""

    url: str
    headers: dict[str, Secret] = {}


class Budget(Section):
    """How many runs may act, of all policies that name this budget together."""

    limit: int = Field(ge=0, strict=True, description="runs that started an act that is not safe; 0: none")
    per: Duration = Field(gt=timedelta(0), description="over this long, such as 24h")

    @property
    def rate(self) -> Rate:
        """As the catalogue has it."""
        return Rate(self.limit, self.per)


class Limits(Section):
    """How much at once."""

    inbox: int = Field(default=50_000, gt=0, description="deliveries waiting before 503")
    probes_at_once: int = Field(default=32, gt=0)
    acts_at_once: int = Field(default=8, gt=0)


class Retention(Section):
    """How long what is over is kept; ``keep``: for ever. What anything open needs is never forgotten."""

    deliveries: Keeping = Field(
        default=timedelta(days=30), description="settled deliveries, which backtests read"
    )
    alerts: Keeping = Field(default=timedelta(days=30), description="resolved alerts, since last heard of")
    runs: Keeping = Field(default=timedelta(days=400), description="closed runs with their journals")
    counters: Keeping = Field(
        default=timedelta(days=400),
        description="what bounds counted; longer, if a bound looks back for longer",
    )
    archive: str | None = Field(
        default=None, min_length=1, description="a folder that journals are written to before they go"
    )


class Reload(Section):
    """Whether the folder of policies is watched; SIGHUP and the API reload it in any case."""

    watch: bool = Field(default=True, description="reload when a file changed, once all is quiet")
    every: Duration = Field(
        default=timedelta(seconds=5), ge=timedelta(seconds=1), description="how often to look"
    )


class Config(Section):
    """`remediator.yaml`, whole."""

    listen: str = "127.0.0.1:8080"
    public_url: str = ""
    store: str = "sqlite:remediator.db"
    policies: str = "./policies"
    reload: Reload = Reload()
    retention: Retention = Retention()
    hooks: Hooks = Hooks()
    connections: dict[str, dict[str, Any]] = {}
    people: dict[str, Person] = {}
    roles: dict[str, Role] = {}
    targets: tuple[str, ...] = ()
    slack: Slack | None = None
    page_webhook: PageHook | None = None
    escalations: dict[str, tuple[Rung, ...]] = {}
    budgets: dict[str, Budget] = {}
    limits: Limits = Limits()
    resolved_debounce: Duration = timedelta(minutes=1)
    page_repeat: Duration = timedelta(minutes=15)
    allow_loosening: str | None = Field(
        default=None,
        alias="allow-loosening",
        min_length=1,
        description="why this change of the settings may loosen something; holds for the one change that "
        "adds or rewrites it (`policy diff`)",
    )

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdigit() and int(port) < 65536):
            raise ValueError("write host:port, such as 127.0.0.1:8080")
        return value

    @property
    def host(self) -> str:
        """Where to listen, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 picks a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def loopback(self) -> bool:
        """Can nobody but this machine reach it?"""
        return self.host in ("127.0.0.1", "::1", "localhost")

    def people_of(self, role: str, now: datetime) -> frozenset[str]:
        """Who holds a role at this moment, cover included; empty when there is no such role."""
        found = self.roles.get(role, Role())
        return frozenset(found.people) | {one.by for one in found.covers if one.holds(now)}
