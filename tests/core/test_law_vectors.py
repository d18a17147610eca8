"""The shared worked examples, with their reasons, and the packs they were made with."""

import json
from datetime import datetime
from typing import Any

import jsonschema
import pytest

from suppression.jurisdiction import Pack
from suppression.reason_code import ACTOR, FAMILY
from tests.core.law_facts import VECTORS, judged, packs, vectors


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["id"])
def test_each_example_is_decided_as_written(vector: dict[str, Any]) -> None:
    decision = judged(vector["facts"])
    assert (decision.verdict, decision.reason_code) == (
        vector["expected"]["decision"],
        vector["expected"]["reason_code"],
    ), vector["title"]
    assert decision.cite
    assert decision.trace[0] == "A1"


def test_the_examples_fit_their_schema() -> None:
    schema = json.loads((VECTORS / "decisions.schema.json").read_text("utf-8"))
    jsonschema.validate(json.loads((VECTORS / "decisions.json").read_text("utf-8")), schema)


def test_every_code_of_the_schema_that_stops_a_message_is_explained() -> None:
    schema = json.loads((VECTORS / "decisions.schema.json").read_text("utf-8"))
    item = schema["properties"]["vectors"]["items"]
    codes = set(item["properties"]["expected"]["properties"]["reason_code"]["enum"])
    stopping = {code for code in codes if not code.startswith("ALLOW_")}
    assert stopping == set(FAMILY) and codes == set(ACTOR)


def _value(pack: Pack, name: str) -> Any:
    value = getattr(pack, name)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value


def test_the_packs_hold_the_values_of_the_rules() -> None:
    wanted = json.loads((VECTORS / "packs.json").read_text("utf-8"))["packs"]
    assert set(packs()) == set(wanted)
    for code, values in wanted.items():
        for name, value in values.items():
            given = sorted(value) if isinstance(value, list) else value
            assert _value(packs()[code], name) == given, f"{code}.{name}"
        if "implied_consent_months" not in values:
            assert packs()[code].implied_consent_months == {}
