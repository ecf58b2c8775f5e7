"""Policy files: a policy, or findings at their places; what is taken survives lint and the store."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from remediator.policyfiles.lint.codes import CODES
from remediator.policyfiles.lint.linting import lint
from remediator.policyfiles.lint.reports import FORMATS
from remediator.policyfiles.loading import load_text, parse_text
from tests.fuzz.target import Target
from tests.policyfiles.test_corpus import BAD, GOOD, ROOT, corpus

LONGEST = 4 * 1024
_WORD = re.compile(rb"[a-z_]{3,}|\$\{[^}\n]{1,40}\}|P[0-9]{3}")
PIECES = [
    *(
        b"${",
        b"}",
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!str ",
        b"? ",
        b"- ",
        b": ",
        b"---\n",
        b"...\n",
        b"|\n",
        b">-\n",
    ),
    *(b"{", b"[", b'"', b"'", b"#", b"\t", b"\r\n", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\x00", b"\xff"),
    *(b"~", b"null", b"true", b"0x1f", b"1e99", b".inf", b"-1", b"9223372036854775808", b"5m", b"0s", b"90d"),
    *(
        b"labels.",
        b"steps.",
        b"verify.",
        b".json.",
        b" == ",
        b" != ",
        b" in ",
        b" && ",
        b"size(",
        b"has(",
        b"now",
    ),
    *(b"SELECT ", b"UPDATE ", b" WHERE ", b" RETURNING *", b"$1", b"%s", b"3 in 24h", b"[a-z0-9-]{1,64}"),
]


def target() -> Target:
    catalog = corpus()
    quick = "/dev/shm" if Path("/dev/shm").is_dir() else None
    room = tempfile.TemporaryDirectory(prefix="remediator-policies-", dir=quick)
    file, reports = Path(room.name, "one.yaml"), list(FORMATS.values())

    def check(data: bytes) -> bool:
        file.write_bytes(data)
        found = lint([file], catalog)
        lines = len(re.split(rb"\r\n|[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9]", data))
        assert found.policies or found.errors
        for one in found.findings:
            assert one.file == str(file), one
            assert 1 <= one.line <= lines, (one, lines)
            assert one.col >= 1, one
            assert one.code in CODES, one
            assert one.message, one
            assert "\n" not in f"{one.message}{one.remedy}", one
        reports[len(data) % len(reports)](found).encode()
        for policy in found.policies:
            again = load_text(policy.text, catalog, "again.yaml")
            assert not again.errors, again.errors
            assert [one.version for one in again.policies] == [policy.version]
            assert parse_text(policy.text, "kept.yaml") == policy.policy
        assert found.sound(catalog).by_name.keys() == {one.policy.name for one in found.policies}
        return bool(found.policies)

    seeds = [one.read_bytes() for one in (ROOT / "base.yaml", *GOOD, *BAD)]
    seeds = [re.sub(rb"\A(#[^\n]*\n)+", b"", one) for one in seeds]  # what the corpus expects of them
    words = sorted({word for one in seeds for word in _WORD.findall(one)})
    return Target(
        check, [one for one in seeds if len(one) <= LONGEST], [*PIECES, *words], LONGEST, room.cleanup
    )
