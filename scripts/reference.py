"""Writes anew what is generated: the JSON Schemas, the table of what lint finds, and that of the packs."""

from __future__ import annotations

from pathlib import Path

from remediator.policyfiles.lint.codes import index
from remediator.policyfiles.packs import overview
from remediator.policyfiles.schema import schemas

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Each file is written where a test looks for it."""
    for name, text in schemas().items():
        (ROOT / "remediator" / "policyfiles" / name).write_text(text, "utf-8")
    (ROOT / "docs" / "lint" / "README.md").write_text(index(), "utf-8")
    (ROOT / "policies" / "README.md").write_text(overview(ROOT / "policies"), "utf-8")


if __name__ == "__main__":
    main()
