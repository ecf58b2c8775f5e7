"""An alert explained: as JSON, as a page, and with whatever its labels hold."""

from __future__ import annotations

import json

import msgspec

from remediator.ports import Explanation, Tx
from tests.store.samples import NOON
from tests.web.conftest import Opened, Site
from tests.web.scene import BUDGET, _heard, alert, fill
from tests.web.test_hostile import CORPUS

PATH = f"/api/v1/alerts/{alert().fingerprint}/explain"


async def test_every_policy_says_what_it_thinks_of_a_stored_alert(site: Site) -> None:
    await fill(site.store)
    found = msgspec.convert(await site.json(PATH), Explanation)
    assert (found.stored, found.at) == (True, NOON)
    assert {one.policy for one in found.policies} == set(site.services.policies().by_name)
    (told,) = [one for one in found.policies if one.policy == BUDGET]
    assert (told.says, told.bound) == ("refused", "cooldown")
    assert told.again_at is not None


async def test_an_alert_that_was_never_heard_of_is_404(site: Site) -> None:
    for path in ("/api/v1/alerts/none/explain", "/alerts/none", "/alerts/%00", "/alerts/" + "x" * 300):
        status, body = await site.get(path, Accept="application/json")
        assert (status, json.loads(body)["status"]) == (404, 404)


async def test_the_status_page_leads_to_it(site: Site) -> None:
    await fill(site.store)
    _, page = await site.get("/status", Accept="text/html")
    assert f'href="/alerts/{alert().fingerprint}"' in page
    status, page = await site.get(f"/alerts/{alert().fingerprint}", Accept="text/html")
    assert status == 200
    assert "loyalty-program/p-17 was acted on 12m ago; cooldown 30m" in page
    assert "considered again in" in page


async def test_hostile_labels_stay_text(open_site: Opened) -> None:
    site = await open_site()
    labels = {"alertname": CORPUS[0]} | {text[:60] or "x": text for text in CORPUS}
    bad = alert(fingerprint="bad", labels=labels)

    async def work(tx: Tx) -> None:
        await tx.put_alert(_heard(bad))

    await site.store.transact(work)
    status, page = await site.get("/alerts/bad", Accept="text/html")
    assert status == 200
    for text in CORPUS:
        assert not (set(text) & set("<\u202e\x1b") and text in page), text
    found = msgspec.convert(await site.json("/api/v1/alerts/bad/explain"), Explanation)
    assert found.alert.labels == labels
