"""How commands talk to a running daemon: its API, with a person's token."""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remediator.errors import RemediatorError

TIMEOUT_S = 15.0


class DaemonError(RemediatorError):
    """The daemon could not be asked, or said no."""


def add_options(command: argparse.ArgumentParser) -> None:
    """The options that every such command has."""
    command.add_argument("--url", default=os.environ.get("REMEDIATOR_URL", ""), help="the daemon's address")
    command.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="where its address is")
    command.add_argument("--json", action="store_true", help="print what the API answered")


def ask(args: argparse.Namespace, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The daemon's answer as plain JSON. Raises DaemonError."""
    url = f"{_base(args)}{path}"
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    token = os.environ.get("REMEDIATOR_TOKEN", "")
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 -- _base checks the scheme
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _refused(error, has_token=bool(token)) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DaemonError(
            _base(args), f"no daemon answers: {reason}", remedy="start it, or give --url"
        ) from error


def at(args: argparse.Namespace, page: str) -> str:
    """A page's address, whole: without a public URL the daemon knows only its path."""
    return f"{_base(args)}{page}" if page.startswith("/") else page


def given_params(written: Sequence[str]) -> dict[str, str]:
    """``name=value``, each once; the policy says what the values must be. Raises DaemonError."""
    given: dict[str, str] = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not (name and equals):
            remedy = "write --param campaign_id=c-103"
            raise DaemonError("--param", f"{one!r} is not NAME=VALUE", remedy=remedy)
        if name in given:
            raise DaemonError("--param", f"{name} is given twice", remedy="give it once")
        given[name] = value
    return given


def quoted(text: str) -> str:
    """One segment of a path."""
    return urllib.parse.quote(text, safe="")


def _refused(error: urllib.error.HTTPError, *, has_token: bool) -> DaemonError:
    try:
        answer = json.loads(error.read(65536))
        text = str(answer.get("text") or answer.get("error") or answer)
    except (ValueError, AttributeError):
        text = error.reason
    remedy = "" if has_token or error.code != 401 else "export REMEDIATOR_TOKEN=… with your token"
    return DaemonError("", f"{error.code}: {text}", remedy=remedy)


def _base(args: argparse.Namespace) -> str:
    url: str = args.url or _from_config(args.config)
    if not url.startswith(("http://", "https://")):
        raise DaemonError("--url", f"{url!r} is not an address", remedy="write http://host:port")
    return url.rstrip("/")


def _from_config(path: Path) -> str:
    """The listen address, without resolving any secret: people at a terminal may not have those."""
    from remediator.documents import read

    try:
        documents, _ = read(path.read_bytes(), str(path))
        listen = str(documents[0].value.get("listen", "127.0.0.1:8080"))
    except (OSError, IndexError, AttributeError):
        listen = "127.0.0.1:8080"
    return f"http://{listen.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 -- read, not bound
