"""Certificates that sign themselves, by openssl: for servers that tests put up."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(
    folder: Path, name: str = "ca", *, subject: str = "/CN=127.0.0.1", days: int = 2
) -> tuple[str, str]:
    """One for 127.0.0.1, and its key: their files, ``NAME.crt`` and ``NAME.key``."""
    cert, key = str(folder / f"{name}.crt"), str(folder / f"{name}.key")
    words = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-utf8", "-days", str(days), "-subj", subject, "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", key, "-out", cert),
    )
    subprocess.run(words, check=True, capture_output=True)
    return cert, key
