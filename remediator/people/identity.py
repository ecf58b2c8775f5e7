"""Whose API token is this? The config holds only hashes of tokens."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from remediator.config import SHORTEST_TOKEN, Person


def person_of(token: str, people: Mapping[str, Person]) -> str | None:
    """The one person whose token this is. Takes the same time whoever it is, and whether or not."""
    given = sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    found = [
        name for name, person in people.items() if hmac.compare_digest(given, person.token_sha256 or "-" * 64)
    ]
    return found[0] if len(found) == 1 and len(token) >= SHORTEST_TOKEN else None
