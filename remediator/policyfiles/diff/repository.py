"""What stood in a git repository at a commit: read by git itself, as argument lists and never a shell."""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remediator.errors import PolicyError

PATIENCE = 60.0
"""Seconds that one git command may take."""
FILES = ("100644", "100755")
"""Modes of plain files."""
LINK = "120000"
MOST_LINKS = 40
"""Links that are followed, one to the next."""


@dataclass(frozen=True)
class Repository:
    """A git repository by its top folder."""

    root: Path

    @classmethod
    def of(cls, path: Path) -> Repository:
        """The one that a path lies in, be the path itself gone. Raises PolicyError."""
        folder = path.absolute()
        while not folder.is_dir():
            folder = folder.parent
        status, out, problem = _git(folder, "rev-parse", "--show-toplevel")
        if status:
            remedy = "run it inside the repository of the policies"
            raise PolicyError(str(path), f"is in no git repository: {problem}", remedy=remedy)
        return cls(Path(out.decode(errors="surrogateescape").rstrip("\n")))

    def within(self, path: Path) -> str | None:
        """The path as git names it, "" for the top itself; None when it lies elsewhere."""
        try:
            found = path.absolute().resolve().relative_to(self.root.resolve()).as_posix()
        except ValueError:
            return None
        return "" if found == "." else found

    def commit(self, ref: str) -> str:
        """The commit that a branch, tag or hash names. Raises PolicyError."""
        status, out, _ = _git(
            self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
        if not status:
            return out.decode().strip()
        remedy = "name a branch, a tag or a commit, such as --base origin/main"
        if _git(self.root, "rev-parse", "--is-shallow-repository")[1].strip() == b"true":
            remedy = "this clone is shallow: git fetch --unshallow (in actions/checkout: fetch-depth: 0)"
        raise PolicyError("--base", f"git knows no commit {ref!r}", remedy=remedy)

    def merge_base(self, commit: str) -> str | None:
        """Where the work tree's history left that of a commit; None where that is not known."""
        status, out, _ = _git(self.root, "merge-base", commit, "HEAD")
        return out.decode().strip() if not status else None

    def files(self, commit: str, path: str) -> dict[str, bytes | None]:
        """What stood under a path then: each file's path and bytes. Raises PolicyError.

        None: a link that led out of the repository, to nothing, or in a circle.
        """
        return self._files(commit, path, MOST_LINKS)

    def _files(self, commit: str, path: str, links: int) -> dict[str, bytes | None]:
        entries = self._entries(commit, path)
        named = [name for name, (mode, _) in entries.items() if mode in (*FILES, LINK)]
        found: dict[str, bytes | None] = {}
        for name, data in zip(named, self._blobs([entries[name][1] for name in named]), strict=True):
            if entries[name][0] == LINK:
                found |= self._followed(commit, name, os.fsdecode(data), links)
            else:
                found[name] = data
        return found

    def _followed(self, commit: str, link: str, to: str, links: int) -> dict[str, bytes | None]:
        """What stood where a link led, under the link's own path."""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(link), to))
        outside = posixpath.isabs(target) or target.split("/")[0] in ("..", ".")
        there = self._files(commit, target, links - 1) if links and not outside else {}
        return {link + name.removeprefix(target): data for name, data in there.items()} or {link: None}

    def _entries(self, commit: str, path: str) -> dict[str, tuple[str, str]]:
        """Path → mode and object."""
        under = ("--", path) if path else ()
        listed = self._asked("ls-tree", "-r", "-z", "--full-tree", commit, *under)
        found: dict[str, tuple[str, str]] = {}
        for line in filter(None, listed.split(b"\0")):
            kind, _, name = line.partition(b"\t")
            mode, _, blob = kind.decode().split()
            found[os.fsdecode(name)] = mode, blob
        return found

    def _blobs(self, names: Sequence[str]) -> list[bytes]:
        told = self._asked("cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode())
        blobs, at = [], 0
        for _ in names:
            head, at = told[at : told.index(b"\n", at)], told.index(b"\n", at) + 1
            if not head.endswith(b" missing"):
                size = int(head.rsplit(b" ", 1)[1])
                blobs.append(told[at : at + size])
                at += size + 1
                continue
            remedy = "fetch the whole history: git fetch --unshallow, without --filter"
            raise PolicyError("git", f"object {head.decode()}", remedy=remedy)
        return blobs

    def _asked(self, *words: str, given: bytes = b"") -> bytes:
        status, out, problem = _git(self.root, *words, given=given)
        if status:
            raise PolicyError("git", f"{words[0]} failed: {problem}")
        return out


def _git(folder: Path, *words: str, given: bytes = b"") -> tuple[int, bytes, str]:
    """Status, standard output, and what git complained of."""
    # Variables that a hook of git sets would point to another repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 -- argv only; the one word of a user follows --end-of-options
            ["git", "--literal-pathspecs", *words],  # noqa: S607 -- the git of whoever runs this
            cwd=folder,
            input=given,
            capture_output=True,
            env={**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise PolicyError("git", "is not installed, or not on PATH", remedy="install git") from error
    except subprocess.TimeoutExpired as error:
        raise PolicyError("git", f"{words[0]} took longer than {PATIENCE:g} s") from error
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()[:300]
