"""A short look by schemathesis at the daemon's API; and that its description is of what there is."""

from __future__ import annotations

import pytest

from tests.fuzz import api

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]


def test_the_api_does_what_its_description_says() -> None:
    outcome = api.run(seconds=None, examples=3, seed=20261121, phases=("coverage", "stateful"))
    print(outcome)
    assert not outcome.problem, outcome.problem
    assert outcome.executions >= 400
    assert outcome.taken >= 20, "nearly all of it was refused"
