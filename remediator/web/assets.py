"""The page's own style sheet, script and icon: read once, named by their hash, kept long by browsers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources

from aiohttp import web

_TYPES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file."""

    body: bytes
    kind: str
    hash: str


@cache
def assets() -> dict[str, Asset]:
    """All of them, by name."""
    folder = resources.files("remediator.web").joinpath("static")
    found = {}
    for name, kind in _TYPES.items():
        body = folder.joinpath(name).read_bytes()
        found[name] = Asset(body, kind, sha256(body).hexdigest()[:12])
    return found


def address(name: str) -> str:
    """Where a page finds it; another content has another address."""
    return f"/static/{name}?v={assets()[name].hash}"


async def serve(request: web.Request) -> web.Response:
    """Give a file of the status page."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    current = request.query.get("v") == asset.hash
    headers = {"Cache-Control": FOREVER if current else "no-cache", "ETag": f'"{asset.hash}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.kind, charset="utf-8", headers=headers)
