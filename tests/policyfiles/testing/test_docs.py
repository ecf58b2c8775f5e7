"""docs/testing-policies.md is true: its story holds, and no key is left out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pydantic import BaseModel

from remediator.policyfiles.testing import models
from remediator.policyfiles.testing.running import find, run
from tests.policyfiles.testing.stage import PACK, REPOSITORY, known

PAGE = (REPOSITORY / "docs" / "testing-policies.md").read_text()


def test_its_story_holds(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 1
    shutil.copy(PACK / "stuck-campaign.yaml", tmp_path)
    (tmp_path / "stuck-campaign.test.yaml").write_text(blocks[0])
    suite = find([tmp_path], *known())
    assert suite.findings == ()
    report = run(suite, known()[0])
    assert len(report.told) == 2
    assert [one.failures for one in report.failed] == []


def test_every_key_stands_there() -> None:
    keys = {
        name
        for model in vars(models).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name in model.model_fields
    }
    words = set(re.findall(r"[a-z_]+", "".join(re.findall(r"`[^`]*`|```.*?```", PAGE, re.DOTALL))))
    assert keys - words == set()
