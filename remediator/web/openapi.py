"""The API described as OpenAPI 3.1, from the table of routes and the shapes that they take and give."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from remediator.web.access import Access
from remediator.web.problems import MACHINES
from remediator.web.route import Param, Route
from remediator.web.shapes import ProblemShape

_REF = "#/components/schemas/{name}"

_PAGE = {"schema": {"type": "string"}}
_NOBODY: dict[str, list[str]] = {}
_TOKEN: dict[str, list[str]] = {"token": []}
_BASIC: dict[str, list[str]] = {"basic": []}
_REFUSALS = {
    400: "what was sent is not what is taken here",
    401: "it is not known who you are",
    403: "another site's page has sent this",
    404: "there is no such thing",
    409: "too late, or not counted; the text says why",
    413: "the body is too large",
    415: "not application/json",
    503: "the store does not answer, or the daemon is busy; try again",
}
_TELLS_AT_503 = {"/readyz": "not ready", "/status": "the store does not answer: what is known without it"}


def document(routes: Iterable[Route], public_url: str = "", *, loopback: bool = True) -> dict[str, Any]:
    """The whole description. loopback: only this machine can reach the daemon, and may read unasked.

    Doors that prove their senders themselves are not in it: what comes there is told by whoever sends it.
    """
    described = [route for route in routes if route.access is not Access.ITSELF]
    shapes: dict[str, type[msgspec.Struct]] = {"ProblemShape": ProblemShape}
    for route in described:
        shapes |= {one.__name__: one for one in (route.gives, route.takes) if one is not None}
    _, components = msgspec.json.schema_components(shapes.values(), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, loopback=loopback)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Remediator",
            "version": "1",
            "description": "Alerts repair production within bounds. Reading needs a person's token unless "
            "the daemon listens on loopback only; changing always needs one, as a bearer token.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "a person's API token"},
                "basic": {"type": "http", "scheme": "basic", "description": "name and API token; reads only"},
            },
        },
    }


def _operation(route: Route, *, loopback: bool) -> dict[str, Any]:
    handler = route.handler
    summary = (handler.__doc__ or "").strip().splitlines()[0] if handler is not None else ""
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub('[^a-z0-9]+', '_', route.path.lower()).rstrip('_')}",
        "summary": summary,
        "security": _who(route.access, loopback=loopback),
        "responses": _responses(route),
    }
    in_path = [_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)]
    parameters = in_path + [_query_parameter(name, param) for name, param in route.query.items()]
    if parameters:
        found["parameters"] = parameters
    if route.takes is not None:
        required = bool(msgspec.structs.fields(route.takes))
        found["requestBody"] = {"required": required, "content": {"application/json": _schema(route.takes)}}
    return found


def _who(access: Access, *, loopback: bool) -> list[dict[str, list[str]]]:
    match access:
        case Access.CHANGE:
            return [_TOKEN]
        case Access.READ:
            return [*([_NOBODY] if loopback else []), _TOKEN, _BASIC]
        case Access.OPEN | Access.ITSELF:
            return [_NOBODY]


def _schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(name=shape.__name__)}}


def _responses(route: Route) -> dict[str, Any]:
    content = {route.media: _schema(route.gives) if route.gives is not None else {"schema": {}}}
    if route.path == "/status":
        content["text/html"] = _PAGE
    answers: dict[str, Any] = {"200": {"description": "as asked", "content": content}}
    if route.path == "/":
        answers = {"302": {"description": "to the status page"}}
    if route.path in _TELLS_AT_503:
        answers["503"] = {"description": _TELLS_AT_503[route.path], "content": content}
    for status in _refusals(route):
        body = {"application/json": _schema(ProblemShape)}
        if status in (400, 403, 404, 409) and route.access is Access.CHANGE:
            body = {
                "application/json": {
                    "schema": {
                        "anyOf": [_schema(one)["schema"] for one in (ProblemShape, route.gives) if one]
                    }
                }
            }
        if not route.path.startswith(MACHINES):
            body["text/html"] = _PAGE
        answers.setdefault(str(status), {"description": _REFUSALS[status], "content": body})
    return answers


def _refusals(route: Route) -> tuple[int, ...]:
    if route.access is Access.CHANGE:
        return (400, 401, 403, 404, 409, 413, 415, 503)
    found: tuple[int, ...] = (401, 503) if route.access is Access.READ else ()
    found += (400,) if route.path.startswith("/api/") else ()
    return found + ((404,) if "{" in route.path else ())


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "maxLength": 200}}


def _query_parameter(name: str, param: Param) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": 300}
    if param.choices:
        schema = {"type": "string", "enum": list(param.choices)}
    if param.most is not None:
        schema = {"type": "integer", "minimum": 1, "maximum": param.most}
    return {"name": name, "in": "query", "required": False, "description": param.doc, "schema": schema}
