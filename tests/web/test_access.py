"""Route by role: who may do what, and who may not, for every route there is."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace

import pytest
from aiohttp import web

from remediator.web.access import Access
from remediator.web.route import Route
from remediator.web.routes import BY_NAME, ROUTES
from remediator.web.server import make_app
from tests.web.conftest import TOKENS, Opened, Site
from tests.web.scene import alert, asking, fill, waiting

DOORS = tuple(route for route in ROUTES if route.handler is None)
OURS = tuple(route for route in ROUTES if route.handler is not None and not route.path.endswith("/events"))
BODIES = {
    "/api/v1/gates/{id}/votes": {"vote": "approve"},
    "/api/v1/gates/{id}/ask": {"via": "cli"},
    "/api/v1/runs/{id}/settle": {"verdict": "happened"},
    "/api/v1/halts": {"reason": "deploying"},
    "/api/v1/runs": {"policy": "stuck-worker"},
}


def basic(name: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()


ROLES = {
    "nobody": "",
    "bearer": f"Bearer {TOKENS['amina']}",
    "basic": basic("amina", TOKENS["amina"]),
    "wrong-bearer": "Bearer nobody-has-this-token",
    "wrong-basic": basic("amina", "nobody-has-this-token"),
    "other-name": basic("bob", TOKENS["amina"]),
    "nonsense": "Negotiate TlRMTVNTUAAB",
}


def allowed(route: Route, role: str, *, exposed: bool) -> bool:
    """The whole rule, said once more in other words."""
    if route.access in (Access.OPEN, Access.ITSELF):
        return True
    if route.access is Access.CHANGE:
        return role == "bearer"
    return role in ("bearer", "basic") or (role == "nobody" and not exposed)


def address(route: Route) -> str:
    number = {
        "/api/v1/gates/{id}/votes": f"{waiting().id}.1",
        "/api/v1/gates/{id}/ask": f"{waiting().id}.1",
        "/api/v1/runs/{id}/settle": asking().id,
        "/api/v1/halts/{id}": "h-1",
        "/api/v1/pages/{id}/ack": "p-1",
    }.get(route.path, waiting().id)
    path = route.path.replace("{id}", number).replace("{fingerprint}", alert().fingerprint)
    return path.replace("{name}", "page.css")


async def knock(site: Site, route: Route, **headers: str) -> int:
    body = BODIES.get(route.path, {}) if route.method == "POST" else None
    sent = {"Content-Type": "application/json"} if route.method != "GET" else {}
    sent |= {name: value for name, value in headers.items() if value}
    async with site.client.request(
        route.method, site.url + address(route), json=body, headers=sent, allow_redirects=False
    ) as answer:
        return answer.status


@pytest.mark.parametrize("exposed", [False, True], ids=["loopback", "exposed"])
async def test_every_route_asks_of_every_role_what_the_table_says(
    open_site: Opened, *, exposed: bool
) -> None:
    site = await open_site(exposed=exposed)
    await fill(site.store)
    for route, (role, authorization) in itertools.product(OURS, ROLES.items()):
        status = await knock(site, route, Authorization=authorization)
        if allowed(route, role, exposed=exposed):
            assert status in (200, 302), (route.name, role, status)
        else:
            assert status == 401, (route.name, role, status)


async def test_no_refused_change_reaches_the_desk(open_site: Opened) -> None:
    site = await open_site(exposed=True)
    changes = [route for route in OURS if route.access is Access.CHANGE]
    for route, (role, authorization) in itertools.product(changes, ROLES.items()):
        if role != "bearer":
            await knock(site, route, Authorization=authorization)
    assert site.desk.asked == []


async def test_the_router_knows_no_route_that_the_table_does_not(open_site: Opened) -> None:
    async def hook(_request: web.Request) -> web.Response:
        return web.Response(text="mine")

    site = await open_site(extra_routes=tuple((door.method, door.path, hook) for door in DOORS))
    found = set()
    for route in site.app.router.routes():
        assert route.resource is not None
        method = "GET" if route.method == "HEAD" else route.method
        found.add(f"{method} {route.resource.canonical}")
    assert found == set(BY_NAME)


async def test_an_extra_route_must_be_listed(site: Site) -> None:
    async def hook(_request: web.Request) -> web.Response:
        return web.Response()

    for door in (("POST", "/hooks/other", hook), ("GET", "/status", hook)):
        with pytest.raises(ValueError, match="does not stand in"):
            make_app(replace(site.services, extra_routes=(door,)))


async def test_a_door_of_its_own_is_open_to_its_own_senders(open_site: Opened) -> None:
    async def hook(request: web.Request) -> web.Response:
        return web.Response(text=f"{len(await request.read())}")

    site = await open_site(exposed=True, extra_routes=(("POST", "/hooks/alertmanager", hook),))
    body = b"x" * 200_000
    async with site.client.post(f"{site.url}/hooks/alertmanager", data=body) as answer:
        assert (answer.status, await answer.text()) == (200, "200000")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
async def test_a_foreign_name_that_points_to_loopback_reads_nothing(site: Site, host: str) -> None:
    async with site.client.get(f"{site.url}/status", headers={"Host": host}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080"])
async def test_loopback_by_its_own_names_is_open(site: Site, host: str) -> None:
    async with site.client.get(f"{site.url}/status", headers={"Host": host}) as answer:
        assert answer.status == 200


CROSS = {
    "another site": {"Origin": "https://evil.example"},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "a sandboxed frame": {"Origin": "null"},
    "a file": {"Origin": "file://"},
    "a sibling": {"Sec-Fetch-Site": "same-site"},
    "a stranger": {"Sec-Fetch-Site": "cross-site"},
    "an empty origin": {"Origin": ""},
}


@pytest.mark.parametrize("whose", CROSS)
async def test_no_other_sites_page_changes_anything(site: Site, whose: str) -> None:
    for route in OURS:
        if route.access is Access.CHANGE:
            headers = {"Authorization": ROLES["bearer"], **CROSS[whose]}
            body = BODIES.get(route.path, {})
            async with site.client.request(
                route.method, site.url + address(route), json=body, headers=headers
            ) as answer:
                assert answer.status == 403, route.name
    assert site.desk.asked == []


async def test_who_sends_nothing_needs_not_say_of_which_type(site: Site) -> None:
    assert (await site.ask("POST", "/api/v1/policies/reload", Content_Type=""))[0] == 200
    form = "application/x-www-form-urlencoded"
    assert (await site.ask("POST", "/api/v1/policies/reload", Content_Type=form))[0] == 415


async def test_a_token_that_is_too_short_is_told_so(site: Site) -> None:
    for method, path in (("POST", "/api/v1/policies/reload"), ("GET", "/api/v1/runs")):
        status, answer = await site.ask(method, path, Authorization="Bearer short")
        assert (status, answer["error"]) == (401, "this token is nobody's: it has less than 16 characters")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_a_form_changes_nothing(site: Site, kind: str) -> None:
    status, answer = await site.ask("POST", "/api/v1/halts", b'{"reason": "x"}', Content_Type=kind)
    assert (status, site.desk.asked) == (415, [])
    assert "application/json" in answer["error"]


async def test_the_pages_own_address_and_the_public_one_may_change(site: Site) -> None:
    for origin in (site.url, "https://remediator.example"):
        status, _ = await site.ask(
            "POST", "/api/v1/pages/p-1/ack", {}, Origin=origin, Sec_Fetch_Site="same-origin"
        )
        assert status == 200
    assert len(site.desk.asked) == 2


async def test_nothing_is_offered_to_other_origins(site: Site) -> None:
    for path in ("/status", "/api/v1/runs", "/api/v1/events"):
        async with site.client.get(site.url + path, headers={"Origin": "https://evil.example"}) as answer:
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
            assert "Set-Cookie" not in answer.headers
    async with site.client.options(f"{site.url}/api/v1/halts") as answer:
        assert answer.status == 405


async def test_every_answer_carries_the_security_headers(site: Site) -> None:
    for path in (
        "/",
        "/status",
        "/nothing",
        "/static/page.js",
        "/healthz",
        "/api/v1/runs",
        "/api/v1/runs/none",
    ):
        async with site.client.get(site.url + path, allow_redirects=False) as answer:
            csp = answer.headers["Content-Security-Policy"]
            assert csp.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in csp
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            if "/static/" not in path:
                assert answer.headers["Cache-Control"] == "no-store"


async def test_off_loopback_health_tells_no_details(open_site: Opened) -> None:
    site = await open_site(exposed=True)
    site.problems.append("the store /var/lib/x does not work")
    status, body = await site.get("/readyz")
    assert (status, "store" in body) == (503, False)
    assert (await site.get("/healthz"))[0] == 200
