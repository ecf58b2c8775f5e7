"""A page or JSON? What the client's Accept header prefers."""

from __future__ import annotations

from aiohttp import web

_Rank = tuple[float, int]


def wants_page(request: web.Request) -> bool:
    """True for browsers and for whoever does not care; False when JSON is preferred."""
    accept = ",".join(request.headers.getall("Accept", ["*/*"]))[:4096]
    return _rank(accept, "application", "json") <= _rank(accept, "text", "html")


def _rank(accept: str, kind: str, subkind: str) -> _Rank:
    """How much a type is wanted: its q, and among equals the one that was named."""
    names = {f"{kind}/{subkind}": 2, f"{kind}/*": 1, "*/*": 0}
    best: _Rank = (0.0, 0)
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name in names and (quality := _quality(parameters)):
            best = max(best, (quality, names[name]))
    return best


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0
