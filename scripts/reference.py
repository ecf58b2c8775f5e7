"""Writes anew what is generated from the code: the JSON Schemas, and the table of what lint finds."""

from __future__ import annotations

from pathlib import Path

from remediator.policyfiles.lint.codes import index
from remediator.policyfiles.schema import schemas

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Each file is written where a test looks for it."""
    for name, text in schemas().items():
        (ROOT / "remediator" / "policyfiles" / name).write_text(text, "utf-8")
    (ROOT / "docs" / "lint" / "README.md").write_text(index(), "utf-8")


if __name__ == "__main__":
    main()
