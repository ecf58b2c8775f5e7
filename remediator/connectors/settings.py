"""What every connection's settings share: how policies may see it, and how headers and CAs are written."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo
from yarl import URL

from remediator.config import Secret, Section
from remediator.core.canonical import digest
from remediator.core.catalog import Command, Fence, Reach, Risk

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What a header's name may consist of (RFC 9110, section 5.6.2)."""

BLIND = "blind"
"""In the context of a validation: nothing outside the settings is looked at, such as a CA's file."""


class Settings(Section):
    """One connection's part of the config, without its ``kind``."""

    @property
    def risks(self) -> Mapping[str, Risk]:
        """Endpoints whose risk the config lowers or raises."""
        return MappingProxyType({})

    @property
    def fence(self) -> Fence:
        """What the service at the other end honours."""
        return Fence.NONE

    @property
    def reach(self) -> Reach:
        """How far SQL may go there."""
        return Reach()

    @property
    def limits(self) -> Mapping[str, int | timedelta]:
        """How much one answer may hold and how long one call may take, by the setting's name."""
        return MappingProxyType({})

    @property
    def declared(self) -> Mapping[str, Command]:
        """The commands that policies may name here."""
        return MappingProxyType({})

    def digest(self) -> str:
        """Changes when anything that is not secret changes: part of the version of policies."""
        return digest(self.model_dump(mode="json"))


def header_problem(name: str, value: str) -> str:
    """Why this may not be a header; empty when it may."""
    if not name or not TOKEN.issuperset(name):
        return f"{name!r} cannot be a header's name"
    if not all(char == "\t" or " " <= char < "\x7f" for char in value):
        return f"the value of header {name} holds a character other than printable ASCII"
    return ""


def _fixed_host(value: str) -> str:
    try:
        url = URL(value)
        port = url.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or port is None:
        raise ValueError("write http://host:port or https://host, with a path at most")
    if url.user is not None or url.password is not None:
        raise ValueError("may not hold credentials; write them as a header with ${env:NAME}")
    if url.raw_query_string or url.raw_fragment or "?" in value or "#" in value:
        raise ValueError("may not hold a query or fragment")
    if not value.isascii() or any(char <= " " or char == "\x7f" for char in value):
        raise ValueError("may hold printable ASCII only")
    return value.rstrip("/")


def _plain_headers(value: dict[str, Secret]) -> dict[str, Secret]:
    for name, secret in value.items():
        if problem := header_problem(name, secret.get_secret_value()):
            raise ValueError(problem)
    return value


def _readable(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is not None and not (info.context or {}).get(BLIND):
        try:
            ssl.create_default_context(cafile=str(value))
        except OSError as error:  # SSLError is one
            raise ValueError(f"no certificates can be read from it: {error}") from None
    return value


BaseUrl = Annotated[str, AfterValidator(_fixed_host)]
"""A fixed http or https host, without credentials, query or trailing slash."""

Headers = Annotated[dict[str, Secret], AfterValidator(_plain_headers)]
"""Headers that the connection adds to each request; their values never show."""

Authorities = Annotated[Path | None, AfterValidator(_readable)]
"""A PEM file of the authorities to trust instead of the system's."""
