"""The JSON Schemas of a policy and of a file of stories, made from the models, for editors.

Both are shipped beside this module, as `scripts/reference.py` writes them and a test compares them.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from remediator.core.durations import Rate, format_duration
from remediator.core.policy import Policy
from remediator.policyfiles.testing.models import TestFile

POLICY, TESTS = "policy.schema.json", "tests.schema.json"
"""The shipped files."""


class _Plain(GenerateJsonSchema):
    """As people write: durations in our words, nothing said of null and of titles that repeat a key."""

    def encode_default(self, dft: Any) -> Any:
        """A default as it would be written."""
        match dft:
            case timedelta():
                return format_duration(dft)
            case Rate():
                return str(dft)
            case datetime():
                return dft.isoformat()
            case BaseModel():
                return {}
        return super().encode_default(dft)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """What may be left out has no default that is worth a word where that is nothing."""
        if schema.get("default", ...) in (None, "", (), {}) and not isinstance(schema.get("default"), bool):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Whoever writes nothing leaves the key out."""
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A title would only repeat the key."""
        del schema
        return False


def schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The schema of a document."""
    made = model.model_json_schema(ref_template="#/definitions/{model}", schema_generator=_Plain)
    parts = made.pop("$defs")
    for part in parts.values():
        part.pop("title", None)
    dialect = "http://json-schema.org/draft-07/schema#"  # what every editor's YAML server knows
    return {"$schema": dialect, **made, "title": title, "definitions": parts}


def schemas() -> dict[str, str]:
    """The text of each shipped file."""
    made = {
        POLICY: schema(Policy, "A policy of Remediator"),
        TESTS: schema(TestFile, "Stories about a policy of Remediator"),
    }
    return {name: json.dumps(one, indent=2, ensure_ascii=False) + "\n" for name, one in made.items()}


def shipped(name: str) -> str:
    """The text of a shipped file."""
    return files("remediator.policyfiles").joinpath(name).read_text("utf-8")
