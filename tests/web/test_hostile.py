"""Hostile texts in every place that a page shows: nothing runs, nothing hides, nothing leads astray."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from markupsafe import Markup
from playwright.async_api import Browser, Page, async_playwright

from remediator.core.catalog import Catalog
from remediator.core.evidence import Picture, Reading
from remediator.core.messages import Entry
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Outcome, Run, Stage, StepState
from remediator.core.run import Page as PersonsPage
from remediator.ports import Answer, Disposition, Rejected, Tx
from remediator.web import rendering
from remediator.web.lettering import link, plain, shown
from remediator.web.views import gate_row
from tests.rig.components import program
from tests.store.samples import NOON
from tests.web.conftest import TOKENS, Opened, Site
from tests.web.scene import (
    HASH,
    ROLES,
    _heard,
    _policy,
    alert,
    asking,
    fill,
    halve,
    holding,
    run,
    thrown_halt,
    waiting,
)

CORPUS = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    '"><img src=x onerror=window.pwned=1>',
    "' onmouseover='window.pwned=1' autofocus onfocus='window.pwned=1",
    "<svg/onload=window.pwned=1>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "</title><script>window.pwned=1</script>",
    "</textarea></style><script>window.pwned=1</script>",
    "<meta http-equiv=refresh content='0;url=javascript:window.pwned=1'>",
    "<base href='https://evil.example/'>",
    "<form action='https://evil.example'><input name=a><button>Approve</button></form>",
    "<style>body{display:none}</style>",
    "<b id=fragment></b><b id=main></b><b id=ask></b>",
    "<button data-do=vote data-vote=approve data-gate=g>Acknowledge</button>",
    "{{ 7 * 191 }}{% raw %}${7*191}<%= 7*191 %>#{7*191}",
    "<!--<script>window.pwned=1</script>-->",
    "<template><script>window.pwned=1</script></template>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.pwned=1>",
    "\u202egnp.exe\u2066\u200b\u00ad\x00\x1b[2J\ufeff",
    "p\u0430ypal",
)
ADDRESSES = (
    "javascript:window.pwned=1",
    "JaVaScRiPt:window.pwned=1",
    " javascript:window.pwned=1",
    "java\tscript:window.pwned=1",
    "data:text/html,<script>window.pwned=1</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//evil.example/x",
    "http:evil",
    "https://",
    "https://a\\@evil.example",
    "http://ok.example/\u202egpj",
    "blob:https://x/y",
    'http://ok.example/"onmouseover="window.pwned=1',
)
ALL = " ".join(CORPUS)

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def hostile_runs() -> list[Run]:
    """Runs with the corpus wherever a run keeps text from outside."""
    labels = {"alertname": CORPUS[0], "severity": CORPUS[2]} | {text[:60]: text for text in CORPUS}
    notes = {f"a{number}": text for number, text in enumerate((*CORPUS, *ADDRESSES))}
    bad = alert(
        fingerprint=CORPUS[2],
        labels=labels,
        annotations=notes | {"summary": ALL, "runbook_url": ADDRESSES[0]},
        generator_url=ADDRESSES[1],
        truncated=3,
    )
    value = dict(zip(CORPUS, CORPUS, strict=True)) | {"row": dict(zip(CORPUS, CORPUS, strict=True))}
    readings = {CORPUS[2]: Reading(NOON, ok=True, value=value), "b": Reading(NOON, ok=False, error=ALL)}
    common: dict[str, Any] = {
        "alert": bad,
        "target": f"x/{CORPUS[2]}{CORPUS[-2]}",
        "readings": readings,
        "params": value,
    }
    gated = waiting(1, **common)
    assert gated.gate is not None
    call = msgspec.structs.replace(
        halve().call, args=dict(zip(CORPUS, CORPUS, strict=True)), connection=CORPUS[0]
    )
    step = halve(summary=ALL, call=call, verify=call)
    votes = tuple(msgspec.structs.replace(gated.gate.votes[0], by=text, reason=text) for text in CORPUS)
    gate = msgspec.structs.replace(
        gated.gate,
        intentions=(step,),
        votes=votes,
        pictures={step.step: Picture(1, ALL, (value,))},
        required={CORPUS[2]: 1},
    )
    gated = msgspec.structs.replace(gated, gate=gate)
    lost = asking(2)
    held = holding(3)
    stuck = msgspec.structs.replace(
        lost.steps["restart_worker"], error=ALL, intention=step, state=StepState.UNKNOWN
    )
    proved = msgspec.structs.replace(
        held.steps["halve_earn_rate"], intention=step, result=value, proof=readings["b"], undo_error=ALL
    )
    return [
        gated,
        msgspec.structs.replace(lost, steps={"restart_worker": stuck}, alert=bad),
        msgspec.structs.replace(held, steps={"halve_earn_rate": proved}, alert=bad, target=common["target"]),
        run(5, stage=Stage.CLOSED, outcome=Outcome.DENIED, reason=ALL, closed_at=NOON, **common),
    ]


async def fill_hostile(site: Site) -> list[Run]:
    made = hostile_runs()

    async def work(tx: Tx) -> None:
        for one in made:
            await tx.save_run(one, None)
            kinds = ("opened", "reading", "vote", "vote-refused", "unknown", "paged", "closed", CORPUS[0])
            data = dict.fromkeys(("by", "reason", "text", "error", "step", "target", "outcome"), ALL)
            await tx.journal(one.id, [Entry(kind, data | {CORPUS[2]: CORPUS[3]}) for kind in kinds])
        await tx.put_alert(_heard(made[0].alert))
        page = PersonsPage(
            id="p-1", key="k", chain="default", text=ALL, opened_at=NOON, sent=(ALL,), error=ALL, run="r-x"
        )
        await tx.put_page(page)
        await tx.put_halt(msgspec.structs.replace(thrown_halt(), reason=ALL, by=ALL, scope=f"policy:{ALL}"))
        await tx.put_rejected(Rejected(NOON, ALL, ALL, ALL))
        standing = Disposition(
            policy=ALL, fingerprint=CORPUS[2], kind="refused", target=ALL, bound=CORPUS[0], reason=ALL,
            since=NOON, waits_for=ALL,
        )  # fmt: skip
        await tx.put_disposition(standing)

    await site.store.transact(work)
    site.problems.append(ALL)
    return made


def hostile_policies() -> PolicySet:
    policy = _policy("loyalty-budget-exhaustion", "act", ALL)
    policy = policy.model_copy(update={"owner": ALL, "runbook": ADDRESSES[0]})
    versioned = Versioned(policy, CORPUS[2], file=ALL)
    return PolicySet.of([versioned], Catalog.of((), roles={**ROLES, CORPUS[2]: frozenset(CORPUS)}))


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=ARGS)
        try:
            yield browser
        finally:
            await browser.close()


class Watcher:
    """Hears everything that a page says when something is wrong with it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))

    async def see(self, url: str) -> None:
        await self.page.goto(url)
        await self.page.wait_for_timeout(150)

    async def nothing_ran(self, site: Site) -> None:
        assert self.complaints == []
        assert await self.page.evaluate("window.pwned") is None
        assert [url for url in self.requests if not url.startswith(site.url)] == []
        assert await self.page.evaluate("[...document.querySelectorAll('base, iframe, style')].length") == 0
        assert await self.page.evaluate("document.querySelectorAll('script').length") == 1
        assert await self.page.evaluate("document.forms.length") == 1
        wrong = "[...document.links].map(a => a.href).filter(h => !/^https?:/.test(h) || h.includes('evil'))"
        assert await self.page.evaluate(wrong) == []
        abouts = "[...document.querySelectorAll('[data-about]')].map(one => one.dataset.about).join()"
        told = await self.page.evaluate("document.body.innerText + document.title")
        told += await self.page.evaluate(abouts)
        assert "1337" not in told
        for letter in "\u202e\u2066\u200b\u00ad\ufeff\x1b":
            assert letter not in told


@pytest.mark.real
@pytest.mark.needs("chromium")
async def test_hostile_texts_run_nowhere_in_a_real_browser(open_site: Opened) -> None:
    site = await open_site(running=hostile_policies())
    made = await fill_hostile(site)
    paths = ["/status", "/nothing/" + "%3Cscript%3Ewindow.pwned=1%3C/script%3E"]
    async with chromium() as browser:
        for path in [*(f"/runs/{one.id}" for one in made), *paths]:
            page = await browser.new_page()
            watcher = Watcher(page)
            await watcher.see(site.url + path)
            watcher.complaints = [one for one in watcher.complaints if "404 (Not Found)" not in one]
            await page.wait_for_timeout(500)  # until the script has swapped the part at least once
            await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
            await watcher.nothing_ran(site)
            await page.close()


@pytest.mark.real
@pytest.mark.needs("chromium")
async def test_a_person_votes_in_a_real_browser(site: Site) -> None:
    await fill(site.store)
    async with chromium() as browser:
        page = await browser.new_page()
        watcher = Watcher(page)
        await watcher.see(f"{site.url}/status")
        await page.click("button[data-vote=approve]")
        assert "UPDATE loyalty_programs" in await page.inner_text("#ask")
        await page.fill("#ask-token", "nobody-has-this-token")
        await page.click("#ask-yes")
        await page.wait_for_selector("#ask-problem:not([hidden])")
        assert await page.inner_text("#ask-problem") == "This token is nobody's."
        assert site.desk.asked == []
        await page.fill("#ask-token", TOKENS["bob"])
        await page.fill("#ask-reason", "looks right")
        await page.click("#ask-yes")
        await page.wait_for_selector("#said:not([hidden])")
        assert await page.inner_text("#said") == "heard"
        assert "bob" in await page.inner_text("#who")
        said = {
            "gate": f"{waiting().id}.1",
            "by": "bob",
            "approve": True,
            "via": "page",
            "reason": "looks right",
            "seen": HASH,
        }
        assert site.desk.asked == [("vote", said)]
        site.desk.answer = Answer(ok=False, text="this vote does not count: " + CORPUS[0], status=409)
        await page.click("button[data-vote=deny]")
        assert await page.is_hidden("#ask-token")  # entered once
        await page.click("#ask-yes")
        await page.wait_for_selector("#ask-problem:not([hidden])")
        assert CORPUS[0] in await page.inner_text("#ask-problem")
        assert await page.evaluate("window.pwned") is None
        assert await page.context.cookies() == []
        assert await page.evaluate("Object.keys(localStorage).length") == 0


@pytest.mark.real
@pytest.mark.needs("chromium")
async def test_a_person_asks_again_in_a_real_browser(site: Site) -> None:
    asked = waiting()
    assert asked.gate is not None
    late = msgspec.structs.replace(asked.gate, state="expired")
    run = msgspec.structs.replace(asked, gate=late, stage=Stage.CLOSED, outcome=Outcome.EXPIRED)
    await site.store.transact(lambda tx: tx.save_run(run, None))
    async with chromium() as browser:
        page = await browser.new_page()
        watcher = Watcher(page)
        await watcher.see(f"{site.url}/runs/{run.id}")
        await page.click("button[data-do=ask]")
        assert "decided anew at once" in await page.inner_text("#ask")
        await page.fill("#ask-token", TOKENS["amina"])
        await page.click("#ask-yes")
        await page.wait_for_selector("#said:not([hidden])")
    assert site.desk.asked == [("ask-again", {"gate": late.id, "by": "amina", "via": "page"})]
    assert watcher.complaints == []


@pytest.mark.needs("chromium")
async def test_the_page_follows_changes_and_keeps_what_is_open(site: Site) -> None:
    await fill(site.store)
    async with chromium() as browser:
        page = await browser.new_page()
        watcher = Watcher(page)
        await watcher.see(f"{site.url}/status")
        await page.click("details summary")
        changed = msgspec.structs.replace(waiting(), stage=Stage.CLOSED, gate=None, outcome=Outcome.RECOVERED,
                                          reason="it went by itself", closed_at=NOON)  # fmt: skip
        await site.store.transact(lambda tx: tx.save_run(changed, None))
        site.feed.tell(changed.id)
        await page.wait_for_selector("text=it went by itself")
        assert await page.title() == "(1) Remediator"
        assert await page.get_attribute("details", "open") is not None
        assert watcher.complaints == []
        await site.app.shutdown()  # ends the open streams, as a restart does
        await page.wait_for_selector("#live.lost")
        assert "what you see may be old" in await page.inner_text("#live")
        await page.wait_for_selector("#live:not(.lost)", timeout=10_000)


@pytest.mark.real
@pytest.mark.needs("chromium")
async def test_off_loopback_a_browser_asks_once_and_then_follows(open_site: Opened) -> None:
    site = await open_site(exposed=True)
    await fill(site.store)
    async with chromium() as browser:
        stranger = await browser.new_page()
        answer = await stranger.goto(f"{site.url}/healthz")
        assert answer is not None
        assert answer.status == 200
        context = await browser.new_context(
            http_credentials={"username": "amina", "password": TOKENS["amina"]}
        )
        page = await context.new_page()
        watcher = Watcher(page)
        await watcher.see(f"{site.url}/status")
        await page.wait_for_selector("#live:not([hidden]):not(.lost)")
        await page.click("button[data-do=ack]")
        assert await page.is_visible("#ask-token")  # what opened the page changes nothing
        await page.fill("#ask-token", TOKENS["bob"])
        await page.click("#ask-yes")
        await page.wait_for_selector("#said:not([hidden])")
        assert site.desk.asked == [("acknowledge", {"page": "p-1", "by": "bob"})]


def test_what_is_approved_is_shown_to_its_last_letter() -> None:
    page = rendering.environment().from_string('{% from "macros.html" import steps %}{{ steps(gate) }}')
    call = msgspec.structs.replace(halve().call, args={"sql": "x" * 50_000 + " THE END"})
    made = waiting()
    assert made.gate is not None
    gate = gate_row(made, msgspec.structs.replace(made.gate, intentions=(halve(call=call),)), {})
    told = page.render(gate=gate)
    assert "THE END" in told
    assert "more characters" not in told


@pytest.mark.real
@pytest.mark.needs("chromium")
async def test_without_javascript_the_page_still_tells_everything(site: Site) -> None:
    await fill(site.store)
    async with chromium() as browser:
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        await page.goto(f"{site.url}/status")
        assert "12 min left" in await page.inner_text("main")
        assert not await page.is_visible("button[data-vote=approve]")
        assert await page.locator("noscript meta[http-equiv=refresh]").count() == 1


@pytest.mark.parametrize("text", CORPUS)
def test_no_markup_is_left_in_a_text(text: str) -> None:
    told = str(shown(text, lines=True))
    for tag in ('<b class="unseen" title="', "<bdi>", "</bdi>", "</b>"):
        told = told.replace(tag, "")
    assert "<" not in told
    assert "'" not in told
    assert all(letter.isprintable() or letter == "\n" for letter in told)


def test_what_hides_is_spelled_out() -> None:
    assert "\\u202e" in shown("a\u202eb")
    assert 'title="RIGHT-TO-LEFT OVERRIDE"' in shown("a\u202eb")
    assert "\\u0430" in shown("p\u0430ypal")
    assert shown("été à Dakar, مرحبا, 東京, Привет") == Markup("<bdi>été à Dakar, مرحبا, 東京, Привет</bdi>")
    assert "\\u000a" in shown("two\nlines")
    assert "\\u000a" not in shown("two\nlines", lines=True)
    assert "… 10 more characters" in shown("x" * 30, most=20)
    assert "\\ud800" in shown("\ud800")
    assert plain("a\u202eb p\u0430ypal été") == "a\\u202eb p\\u0430ypal été"


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_web_addresses_become_links(address: str) -> None:
    assert "<a " not in link(address)


def test_a_web_address_becomes_a_link_that_tells_nothing_of_us() -> None:
    made = link("https://runbooks.example/a?b=1&c=%3C2%3E")
    assert 'href="https://runbooks.example/a?b=1&amp;c=%3C2%3E"' in made
    assert 'rel="noreferrer noopener nofollow"' in made
