"""Is an address, that Slack's API named, on the side of Slack that the settings name?

Bytes for Slack, and connections to it, go nowhere else, whatever an answer says.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_SECURE, _PLAIN = frozenset({"https", "wss"}), frozenset({"http", "ws"})


def of_slack(address: str, api_url: str) -> bool:
    """The same host as the API's or one below it (``files.slack.com``), and as secure as the API."""
    try:
        api, given = urlsplit(api_url), urlsplit(address)
        host, base = given.hostname or "", api.hostname or ""
        own = given.username is None and given.password is None
        same_port = given.port in (None, 443) or given.port == api.port
    except ValueError:
        return False
    allowed = _SECURE | (_PLAIN if api.scheme == "http" else frozenset())
    return own and same_port and given.scheme in allowed and bool(base) and _is_below(host, base)


def _is_below(host: str, base: str) -> bool:
    return host == base or host.endswith(f".{base}")
