"""The folder of policies as it changes: when it is read again, and when the running set goes on."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from remediator.app import App
from remediator.config import Config
from remediator.core.catalog import Catalog
from remediator.core.policyset import PolicySet
from remediator.errors import PolicyError, StoreError
from remediator.ports import Answer
from remediator.reloading import Reloading
from remediator.shelf import Shelf

Chore = tuple[float, Callable[[], Awaitable[None]]]

POLICY = """\
policy: {name}
summary: Something is wrong
mode: {mode}
match: ['alertname={name}']
target: service/x
bounds: {{cooldown: 30m}}
decide: [{{do: nothing}}]
"""
CATALOG = Catalog.of((), targets=frozenset({"service"}))


@dataclass
class Folder:
    """A folder with a shelf before it, and everything that was asked of the shelf."""

    path: Path
    shelf: Shelf
    asked: list[str] = field(default_factory=list)

    def write(self, name: str, *, mode: str = "act", broken: bool = False) -> None:
        text = "policy: [" if broken else POLICY.format(name=name, mode=mode)
        (self.path / f"{name}.yaml").write_text(text)

    async def reload(self, by: str) -> Answer:
        self.asked.append(by)
        try:
            told = await self.shelf.reload()
        except PolicyError as error:
            return Answer(ok=False, text="nothing was changed", data={"problems": str(error).splitlines()})
        return Answer(ok=True, text=told.what)

    def watch(self) -> Reloading:
        return Reloading(self.shelf, self.reload, every=0.0, quiet=0.0)

    @property
    def running(self) -> dict[str, str]:
        return {name: one.policy.mode for name, one in self.shelf().by_name.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    one = Folder(tmp_path, Shelf(tmp_path, CATALOG))
    one.write("web")
    one.shelf.load()
    return one


async def test_a_change_is_read_once_and_a_touch_is_none(folder: Folder) -> None:
    watch = folder.watch()
    await watch.look()
    assert folder.asked == []
    folder.write("web", mode="observe")
    folder.write("db")
    await watch.look()
    await watch.look()
    assert folder.running == {"web": "observe", "db": "act"}
    os.utime(folder.path / "web.yaml", (1, 1))
    (folder.path / "notes.txt").write_text("no policy")
    (folder.path / "web.test.yaml").write_text("no policy")
    await watch.look()
    assert folder.asked == ["file change"]


async def test_the_links_of_a_config_map_are_followed(tmp_path: Path) -> None:
    for name, mode in (("..one", "act"), ("..two", "observe")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.yaml").write_text(POLICY.format(name="web", mode=mode))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "web.yaml").symlink_to("..data/web.yaml")
    one = Folder(tmp_path, Shelf(tmp_path, CATALOG))
    one.shelf.load()
    watch = one.watch()
    await watch.look()
    (tmp_path / "..tmp").symlink_to("..two")
    (tmp_path / "..tmp").rename(tmp_path / "..data")  # as the kubelet does it
    await watch.look()
    assert one.running == {"web": "observe"}
    assert one.asked == ["file change"]


async def test_what_cannot_be_used_is_said_once_and_the_running_set_goes_on(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    watch, before = folder.watch(), folder.shelf()
    folder.write("web", mode="observe")
    folder.write("db", broken=True)
    for _ in range(3):
        await watch.look()
        os.utime(folder.path / "db.yaml")
    assert folder.shelf() is before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "db.yaml:" in folder.shelf.refused[0]
    folder.write("db")
    await watch.look()
    assert folder.running == {"web": "observe", "db": "act"}
    assert folder.shelf.refused == ()


async def test_a_break_that_is_taken_back_needs_no_reload_and_is_no_longer_told(folder: Folder) -> None:
    watch = folder.watch()
    folder.write("web", broken=True)
    await watch.look()
    assert folder.shelf.refused
    folder.write("web")
    await watch.look()
    assert folder.shelf.refused == ()
    assert folder.running == {"web": "act"}


async def test_a_folder_that_lost_all_its_files_takes_no_policy_away(folder: Folder) -> None:
    watch = folder.watch()
    (folder.path / "web.yaml").unlink()
    await watch.look()
    assert folder.running == {"web": "act"}
    assert folder.asked == []
    assert "the folder holds no policy any more" in folder.shelf.refused[0]
    await folder.shelf.reload()  # by hand, it is meant
    assert folder.running == {}
    assert folder.shelf.refused == ()


async def test_a_folder_that_moves_is_waited_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = iter(["observe", "suggest", "observe"])
    look = folder.shelf.look

    def moving() -> object:
        if mode := next(modes, ""):
            folder.write("web", mode=mode)
            os.utime(folder.path / "web.yaml", ns=(0, len(mode) * 7 + len(folder.asked)))
            (folder.path / f"{mode}{len(list(folder.path.iterdir()))}.yaml").write_text(
                POLICY.format(name=f"{mode}-{len(list(folder.path.iterdir()))}", mode="act")
            )
        return look()

    monkeypatch.setattr(folder.shelf, "look", moving)
    await folder.watch().look()
    assert folder.running["web"] == "observe"
    assert len(folder.running) == 4
    assert folder.asked == ["file change"]


async def test_a_folder_that_changes_while_it_is_read_is_read_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["a", "b", "c", "c"])
    monkeypatch.setattr(folder.shelf, "look_closely", lambda: next(answers))
    folder.write("web", mode="observe")
    await folder.shelf.reload()
    assert folder.running == {"web": "observe"}
    assert folder.shelf.content == "c"
    more = itertools.count()
    monkeypatch.setattr(folder.shelf, "look_closely", lambda: str(next(more)))
    folder.write("web", mode="act")
    with pytest.raises(PolicyError, match="keeps changing"):
        await folder.shelf.reload()
    assert folder.running == {"web": "observe"}


async def test_a_reload_tells_what_changed_in_words_and_names_the_set(folder: Folder) -> None:
    before = folder.shelf().version
    told = await folder.shelf.reload()
    assert (told.what, told.changes, told.version) == ("nothing changed", (), before)
    path = folder.path / "web.yaml"
    path.write_text(POLICY.format(name="web", mode="suggest").replace("30m", "5m"))
    told = await folder.shelf.reload()
    assert told.what == "changed web"
    assert told.changes == (
        "LOOSENED: web: bounds: cooldown 30m → 5m",
        "tightened: web: mode act → suggest",
    )
    assert told.version == folder.shelf().version != before


async def test_a_store_that_fails_does_not_end_the_watch(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(by: str) -> Answer:
        await folder.reload(by)
        raise StoreError("state.db", "the disk is full")

    watch = Reloading(folder.shelf, failing, every=0.0, quiet=0.0)
    folder.write("web", mode="observe")
    await watch.look()
    assert "the disk is full" in str(caplog.records[-1].__dict__)
    assert folder.running == {"web": "observe"}


async def test_followers_hear_of_the_new_set_before_the_reload_ends(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Callable[[], PolicySet] | PolicySet] = []

    async def changed(policies: PolicySet) -> None:
        heard.append(policies)

    folder.shelf.follow(changed)
    folder.write("db")
    with caplog.at_level(logging.INFO):
        await folder.shelf.reload()
    assert heard == [folder.shelf()]
    assert any(record.__dict__.get("version") == folder.shelf().version for record in caplog.records)


async def test_followers_that_could_not_take_up_the_set_try_again(folder: Folder) -> None:
    """Else what the new policies decide on, and what the old ones refused, would be forgotten."""
    heard: list[tuple[str, list[str]]] = []
    down = [StoreError("state.db", "database is locked")] * 2

    async def fragile(policies: PolicySet) -> None:
        if down:
            raise down.pop()
        heard.append(("fragile", sorted(policies.by_name)))

    async def firm(policies: PolicySet) -> None:
        heard.append(("firm", sorted(policies.by_name)))

    folder.shelf.follow(fragile)
    folder.shelf.follow(firm)
    folder.write("db")
    assert (await folder.shelf.reload()).what == "added db"
    assert heard == [("firm", ["db", "web"])]
    await folder.shelf.tell()
    assert len(heard) == 1
    for _ in range(2):
        await folder.shelf.tell()
    assert heard[1:] == [("fragile", ["db", "web"])]


async def test_a_follower_with_a_defect_keeps_nobody_from_hearing(folder: Folder) -> None:
    heard: list[int] = []

    async def broken(_new: PolicySet) -> None:
        raise ValueError("a defect")

    async def sound(new: PolicySet) -> None:
        heard.append(len(new.by_name))

    folder.shelf.follow(broken)
    folder.shelf.follow(sound)
    folder.write("db")
    await folder.shelf.reload()
    assert heard == [2]


async def test_a_daemon_lets_them_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policies").mkdir()
    app = App(Config.model_validate({"listen": "127.0.0.1:0"}), tmp_path)
    chores: dict[str, Chore] = {}
    start, changed = app.schedule.start, app.driver.policies_changed
    heard: list[int] = []

    def starts(every: Mapping[str, Chore]) -> None:
        chores.update(every)
        start({})

    async def policies_changed() -> None:
        heard.append(len(heard))
        if len(heard) == 2:
            raise StoreError("state.db", "database is locked")
        await changed()

    monkeypatch.setattr(app.schedule, "start", starts)
    monkeypatch.setattr(app.driver, "policies_changed", policies_changed)
    async with app.running():
        assert len(heard) == 1, "once when it starts"
        await app.shelf.reload()
        assert len(heard) == 2
        for _ in range(2):
            await chores["reload"][1]()
        assert len(heard) == 3


async def test_new_policies_are_announced_before_open_runs_hear_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or another replica opens one by the old policies in between, and that never hears of it."""
    (tmp_path / "policies").mkdir()
    app = App(Config.model_validate({"listen": "127.0.0.1:0"}), tmp_path)
    heard: list[str] = []

    async def noted(what: str) -> None:
        heard.append(what)

    async with app.running():
        monkeypatch.setattr(app.membership, "renew", lambda: noted("announced"))
        monkeypatch.setattr(app.driver, "policies_changed", lambda: noted("told"))
        await app.shelf.reload()
    assert heard == ["announced", "told"]
