"""Some hundreds of webhooks that nobody's Alertmanager sends. Made by rule, the same each time."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.intake.samples import RECORDED, an_alert, webhook

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Knock:
    """One POST: its body, and the headers that differ from an honest one's (empty: left out)."""

    name: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


TEXTS = {
    "nul": "a\0b",
    "high half": "\ud800",
    "low half": "\udfff",
    "halves swapped": "\udc00\ud800",
    "bidi": "\u202egnp.exe\u2066",
    "zero width": "a\u200b\u200d\ufeffb",
    "not a character": "\uffff\ufdd0",
    "combining": "a" + "\u0301" * 5000,
    "turtles": "🐢" * 5000,
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x9b",
    "crlf": "a\r\nX-Evil: 1\r\n\r\n",
    "long": "x" * MEGABYTE,
    "sql": "'; DROP TABLE runs; --",
    "shell": "$(reboot) `reboot` ; reboot | reboot && -rf",
    "template": "${7*7}{{7*7}}#{7*7}<%= 7*7 %>{0.__class__}%s%n",
    "markup": '<script>alert(1)</script><!channel><http://x|y>"onload="x',
    "jndi": "${jndi:ldap://x/a}",
    "path": "../../../../etc/passwd\\..\\..",
    "url": "http://169.254.169.254/latest/meta-data/",
    "json": '","x":{"a":["',
    "promql": '"} or on() vector(1) #{',
    "yaml": "!!python/object/apply:os.system [reboot]",
}
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 7,
    "negative": -1,
    "float": 1.5,
    "huge": 10**400,
    "empty text": "",
    "list": [],
    "nested list": [[[1]]],
    "map": {},
    "nested map": {"a": {"b": 1}},
    "absent": ...,
}
ALERT_FIELDS = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"]
FIELDS = ["alerts", "groupKey", "truncatedAlerts", "version", "status", "receiver", "commonLabels"]


def knocks(max_body: int, token: str) -> Iterator[Knock]:
    """All of them. max_body: the cap of the hook. token: its bearer."""
    yield from quick(token)
    yield from _numbers()
    yield from _depths()
    yield from _sizes(max_body)
    yield from _headers()
    yield from _mutations(random.Random(20261121))


def quick(token: str) -> Iterator[Knock]:
    """Those that are nothing large."""
    yield from _wrong_types()
    yield from _texts()
    yield from _bytes()
    yield from _times()
    yield from _twice()
    yield from _strangers(token)


def _wrong_types() -> Iterator[Knock]:
    for name, value in VALUES.items():
        for one in ALERT_FIELDS:
            yield Knock(f"alert's {one} is {name}", webhook(an_alert(**{one: value}), an_alert("good")))
        for one in FIELDS:
            body = json.loads(webhook()) | {one: value}
            yield Knock(
                f"{one} is {name}",
                json.dumps({key: value for key, value in body.items() if value is not ...}).encode(),
            )
        if value is not ...:
            yield Knock(f"body is {name}", json.dumps(value).encode())
            yield Knock(f"an alert is {name}", webhook(value, an_alert("good")))
            yield Knock(f"a label is {name}", webhook(an_alert(labels={"a": value}), an_alert("good")))


def _texts() -> Iterator[Knock]:
    for name, text in TEXTS.items():
        places: dict[str, dict[str, Any]] = {
            "label": {"labels": {"alertname": text}},
            "label's name": {"labels": {text: "a"}},
            "annotation": {"annotations": {"summary": text}},
            "status": {"status": text},
            "fingerprint": {"fingerprint": text},
            "link": {"generatorURL": text},
        }
        for place, fields in places.items():
            yield Knock(f"{name} in a {place}", webhook(an_alert(**fields), an_alert("good")))
        yield Knock(f"{name} in the group's key", webhook(groupKey=text))
        yield Knock(f"{name} in an unknown field", webhook(unknown=text))
        if not any(0xD800 <= ord(char) < 0xE000 for char in text):
            raw = json.dumps({"alerts": [an_alert(labels={"a": text})]}, ensure_ascii=False)
            yield Knock(f"{name}, not escaped", raw.encode())


def _bytes() -> Iterator[Knock]:
    whole = webhook()
    for length in range(0, len(whole), 25):
        yield Knock(f"cut after {length} bytes", whole[:length])
    for name, piece in {
        "lone continuation": b"\x80",
        "overlong": b"\xc0\xaf",
        "surrogate": b"\xed\xa0\x80",
        "beyond Unicode": b"\xf4\x90\x80\x80",
        "cut character": b"\xe2\x82",
        "latin-1": b"\xe9",
        "raw control": b"\x01",
        "raw newline": b"\n",
        "raw NUL": b"\0",
    }.items():
        yield Knock(f"{name} in a label", whole.replace(b"QueueStuck", piece))
        yield Knock(f"{name} in an unknown field", webhook(x="HERE").replace(b"HERE", piece))
        yield Knock(f"{name} before it all", piece + whole)
    yield Knock("UTF-16", whole.decode().encode("utf-16"))
    yield Knock("UTF-32", whole.decode().encode("utf-32"))
    yield Knock("a byte order mark", b"\xef\xbb\xbf" + whole)
    yield Knock("two bodies", whole + whole)
    yield Knock("only space", b" " * MEGABYTE)
    yield Knock("only NUL", bytes(MEGABYTE))
    yield Knock("only quotes", b'"' * MEGABYTE)
    yield Knock("only backslashes", b'{"alerts": [], "x": "' + b"\\" * MEGABYTE + b'"}')
    yield Knock("XML", b'<!DOCTYPE x [<!ENTITY a "aaa">]><x>&a;</x>')
    yield Knock("a form", b"payload=%7B%7D")
    yield Knock("YAML", b"alerts:\n- &a [*a, *a]\n")
    yield Knock("trailing comma", b'{"alerts": [],}')
    yield Knock("comments", b'{"alerts": [] /* none */}')
    yield Knock("single quotes", b"{'alerts': []}")


def _numbers() -> Iterator[Knock]:
    numbers = {
        "million digits": b"9" * 1_000_000,
        "million decimals": b"0." + b"1" * 1_000_000,
        "million zeros": b"1" + b"0" * 1_000_000,
        "NaN": b"NaN",
        "Infinity": b"Infinity",
        "minus Infinity": b"-Infinity",
        "1e999": b"1e999",
        "1e-999999999": b"1e-999999999",
        "minus zero": b"-0",
        "leading zero": b"007",
        "hexadecimal": b"0x10",
    }
    for name, number in numbers.items():
        for place in ("truncatedAlerts", "version", "unknown", "groupKey"):
            yield Knock(f"{name} as {place}", webhook(**{place: "HERE"}).replace(b'"HERE"', number))
        for place in ("startsAt", "labels", "unknown"):
            body = webhook(an_alert(**{place: "HERE"}), an_alert("good")).replace(b'"HERE"', number)
            yield Knock(f"{name} as alert's {place}", body)


def _depths() -> Iterator[Knock]:
    for depth in (31, 32, 33, 1000, 100_000, 8 * MEGABYTE):
        for name, opener, closer in (("lists", b"[", b"]"), ("maps", b'{"a":', b"}")):
            inside = opener * depth + b"1" + closer * depth
            yield Knock(f"{depth} {name}", inside[: 8 * MEGABYTE])
            yield Knock(f"{depth} {name} in a field", webhook(x="H").replace(b'"H"', inside[: 8 * MEGABYTE]))
            yield Knock(f"{depth} {name}, never closed", (b'{"x":' + opener * depth)[: 8 * MEGABYTE])


def _sizes(max_body: int) -> Iterator[Knock]:
    def labels(count: int) -> dict[str, str]:
        return {f"label{number}": "x" for number in range(count)}

    yield Knock("256 labels", webhook(an_alert(labels=labels(256))))
    yield Knock("257 labels", webhook(an_alert(labels=labels(257)), an_alert("good")))
    yield Knock("10,000 labels", webhook(an_alert(labels=labels(10_000)), an_alert("good")))
    yield Knock("a million labels", webhook(an_alert(labels=labels(1_000_000))))
    yield Knock("10,000 alerts", webhook(*[an_alert()] * 10_000))
    yield Knock("10,001 alerts", webhook(*[an_alert()] * 10_001))
    yield Knock("a million empty alerts", webhook(*[{}] * 1_000_000))
    yield Knock("400,000 empty alerts", webhook(*[{}] * 400_000))
    yield Knock("a million numbers for alerts", webhook(*[1] * 1_000_000))
    yield Knock("400,000 texts for alerts", b'{"alerts":[' + b'"' + b'","' * 400_000 + b'"]}')
    yield Knock("10,000 bad alerts", webhook(*[an_alert(status="?")] * 10_000))
    filler = max_body - 40
    yield Knock("one text of the whole body", b'{"alerts":[],"x":"' + b"x" * filler + b'"}')
    yield Knock("turtles all the way", b'{"alerts":[],"x":"' + "🐢".encode() * (filler // 4) + b'"}')
    yield Knock("halves all the way", b'{"alerts":[],"x":"' + b"\\ud800" * (filler // 6) + b'"}')
    yield Knock("one label of the whole body", b'{"alerts":[{"labels":{"a":"' + b"x" * filler + b'"}}]}')
    yield Knock("brackets all the way", b"[]" * (filler // 2))
    yield Knock("commas all the way", b"," * filler)
    yield Knock("digits all the way", b'{"alerts":[],"x":' + b"9" * filler + b"}")
    yield Knock("a byte too many", b" " * (max_body + 1))
    yield Knock("a megabyte too many", b" " * (max_body + MEGABYTE))


def _times() -> Iterator[Knock]:
    for text in (
        "", "now", "0", "0000-00-00T00:00:00Z", "0001-01-01T00:00:00-23:59",
        "9999-12-31T23:59:59.999999999-23:59",
        "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z",
        "2026-11-21T07:38:60Z", "2026-11-21T07:38:58", "2026-11-21 07:38:58Z", "2026-11-21T07:38:58+99:99",
        "2026-11-21T07:38:58." + "1" * 1000 + "Z", "２０２６-11-21T07:38:58Z", "2026-11-21T07:38:58Z\0",
    ):  # fmt: skip
        for one in ("startsAt", "endsAt"):
            yield Knock(f"{one} {text[:40]!r}", webhook(an_alert(**{one: text}), an_alert("good")))


def _twice() -> Iterator[Knock]:
    alert = json.dumps(an_alert()).encode()
    for key in (b"status", b"labels", b"startsAt", b"fingerprint"):
        yield Knock(f"{key.decode()} twice", b'{"alerts":[{"' + key + b'":7,' + alert[1:] + b"]}")
        yield Knock(
            f"{key.decode()} twice, worse last", b'{"alerts":[' + alert[:-1] + b',"' + key + b'":7}]}'
        )
    yield Knock("alerts twice", b'{"alerts":[1],"alerts":[' + alert + b"]}")
    yield Knock("a label a thousand times", b'{"alerts":[{"labels":{' + b'"a":"b",' * 1000 + b'"a":"b"}}]}')
    yield Knock("__proto__", webhook(__proto__={"status": "firing"}))


def _headers() -> Iterator[Knock]:
    body = webhook()
    bomb = gzip.compress(bytes(100 * MEGABYTE))
    for name, packed in {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "br": body,
        "zstd": body,
        "gzip, gzip": gzip.compress(gzip.compress(body)),
        "x-gzip": gzip.compress(body),
        "nonsense": body,
    }.items():
        yield Knock(f"Content-Encoding {name}", packed, {"Content-Encoding": name})
        yield Knock(f"a bomb as {name}", bomb, {"Content-Encoding": name})
    yield Knock("a bomb without a label", bomb)
    yield Knock("a chain of gzip members", gzip.compress(b"x") * 20_000, {"Content-Encoding": "gzip"})
    for kind in (
        "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=x", "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/jsonx", "application/json;;;", "application/json, application/json", "*/*", ";", "é",
    ):  # fmt: skip
        yield Knock(f"Content-Type {kind!r}", body, {"Content-Type": kind})


def _strangers(token: str) -> Iterator[Knock]:
    pair = base64.b64encode(f"user:{token}".encode()).decode()
    for given in (
        "", "Bearer", "Bearer ", "Bearer x", f"Bearer {token}x", f"Bearer {token[1:]}",
        f"Bearer {token.upper()}",
        token, f"Basic {pair}", "Basic =", "Digest username=x", "Bearer " + "x" * 5000, f"bearer\t{token}",
        f"Bearer {token}, Bearer {token}", "Bearer é",
    ):  # fmt: skip
        yield Knock(f"Authorization {given[:30]!r}", webhook(), {"Authorization": given})


def _mutations(chance: random.Random) -> Iterator[Knock]:
    for number in range(200):
        body = bytearray(chance.choice(RECORDED).read_bytes())
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(body))
            match chance.randrange(4):
                case 0:
                    body[at] = chance.randrange(256)
                case 1:
                    del body[at : at + chance.randint(1, 20)]
                case 2:
                    body[at:at] = bytes(chance.choices(b'{}[],:"\\0u', k=chance.randint(1, 5)))
                case _:
                    body[at:at] = body[at : at + chance.randint(1, 50)]
        yield Knock(f"mutation {number}", bytes(body))
