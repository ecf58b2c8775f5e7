"""Whom a MySQL connection trusts: read once for each state of the file, and anew when it changed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from remediator.connectors.mysql.link import BrokenError, trusted
from tests.rig.certificates import certificate


def test_the_authorities_are_read_once_and_anew_when_the_file_changed(tmp_path: Path) -> None:
    file = Path(certificate(tmp_path)[0])
    first = trusted(file)
    assert trusted(file) is first
    assert first.minimum_version is ssl.TLSVersion.TLSv1_2
    os.utime(file, ns=(1, 1))
    assert trusted(file) is not first
    assert trusted(None) is trusted(None)


def test_authorities_that_cannot_be_read_are_a_line_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("none")
    for file in (tmp_path / "gone.pem", tmp_path / "empty.pem"):
        with pytest.raises(BrokenError, match="cannot be read"):
            trusted(file)
