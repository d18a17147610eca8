"""Facts are read strictly: what the schema refuses is refused, and the field is named."""

import copy
import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suppression.facts import Facts, FactsError, Restriction
from tests.core.law_facts import VECTORS, base, changed, consent, restriction, sale, suppression

Json = dict[str, Any]
SCHEMA = json.loads((VECTORS / "decisions.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": "#/$defs/facts"})


def full() -> Json:
    """Facts with one of everything."""
    return base(
        consents=[consent()],
        sales=[sale(marketing_sent_at=["2025-10-01T08:00:00Z"])],
        suppressions=[suppression()],
        restrictions=[restriction()],
        erasure_requests=[{"controller_id": "acme", "received_at": "2026-01-01T00:00:00Z", "status": "refused"}],
        recipient__birth_date="1990-05-17",
        similar_categories=[["spirits", "wine"]],
    )


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, as the way to it."""
    found = [way] if way else []
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        found += places(part, (*way, name))
    return found


def put(document: Json, way: tuple[Any, ...], value: Any) -> Json:
    result = copy.deepcopy(document)
    at: Any = result
    for name in way[:-1]:
        at = at[name]
    at[way[-1]] = value
    return result


ODD = (
    None, True, 0, -1, 1.5, "", "x", "NL", "2026-03-02T10:00:00Z", "2026-03-02T10:00:00+01:00", "2026-03-02 10:00:00Z",
    "2026-W10-1T10:00:00Z", "2026-03-02", [], {}, [""], ["x"], ["x", "x"], [["x", "y"]], [None],
)  # fmt: skip


def read(document: Json) -> Facts | FactsError:
    try:
        return Facts.from_dict(document)
    except FactsError as error:
        return error


def test_one_odd_value_is_refused_exactly_when_the_schema_refuses_it() -> None:
    """With one value replaced by an odd one, facts are read if and only if they fit the schema."""
    start = full()
    for way in places(start):
        for value in ODD:
            document = put(start, way, value)
            facts = read(document)
            if VALIDATOR.is_valid(document):
                assert isinstance(facts, Facts), f"{way} {value!r} was refused: {facts}"
                # Pairs have no order; all else is written as it was read.
                assert facts.to_dict() == document or way[0] == "similar_categories"
            else:
                assert isinstance(facts, FactsError), f"{way} {value!r} was read"
                assert facts.path.startswith("facts")


def test_an_impossible_day_is_refused_though_the_pattern_fits() -> None:
    for way, value in (("as_of", "2026-02-30T10:00:00Z"), ("recipient.birth_date", "1990-02-30")):
        with pytest.raises(FactsError, match=rf"^facts\.{way}: must be "):
            Facts.from_dict(changed(base(), {way: value}))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([way for way in places(full()) if isinstance(way[-1], str)]), st.booleans())
def test_a_missing_or_unknown_field_is_named(way: tuple[Any, ...], missing: bool) -> None:
    """Taking a field away, or adding one, is refused with the path of that field."""
    document = copy.deepcopy(full())
    at: Any = document
    for name in way[:-1]:
        at = at[name]
    if missing:
        del at[way[-1]]
    else:
        at["extra"] = 1
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way[:-1])
    with pytest.raises(FactsError) as caught:
        Facts.from_dict(document)
    assert caught.value.path == f"facts{named}.{way[-1] if missing else 'extra'}"
    assert str(caught.value).count(caught.value.what) == 1


def test_the_message_names_the_field_and_not_the_value() -> None:
    with pytest.raises(FactsError, match=r"^facts\.consents\[1\]\.action: must be one of active_other, ") as caught:
        Facts.from_dict(base(consents=[consent(), consent(action="piet@example.org")]))
    assert "piet" not in str(caught.value)
    with pytest.raises(FactsError, match=r"^facts: must be an object$"):
        Facts.from_dict([])


def test_a_yes_is_not_a_number() -> None:
    for way, value in (("sender.is_charity", 1), ("message.promotional_content", 0)):
        with pytest.raises(FactsError, match="must be true or false"):
            Facts.from_dict(changed(base(), {way: value}))
    with pytest.raises(FactsError, match="whole number"):
        Facts.from_dict(base(consents=[changed(consent(), {"double_opt_in.mails_sent": True})]))


def test_times_must_be_aware_utc() -> None:
    fine = Restriction(
        controller_id="acme", scope="all", purpose=None, lifted_at=None,
        since=datetime(2026, 1, 1, tzinfo=timezone(timedelta(0), "Z")),
    )  # fmt: skip
    assert fine.since == datetime(2026, 1, 1, tzinfo=UTC)
    for since in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))):  # noqa: DTZ001
        with pytest.raises(ValueError, match="aware UTC"):
            Restriction(controller_id="acme", scope="all", purpose=None, lifted_at=None, since=since)


def test_values_are_frozen_compared_and_replaced_like_any_dataclass() -> None:
    one, other = Restriction.from_dict(restriction()), Restriction.from_dict(restriction())
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.scope = "marketing"  # type: ignore[misc]
    assert dataclasses.replace(one, scope="marketing").to_dict() == restriction(scope="marketing")
    with pytest.raises(TypeError):
        Restriction(controller_id="acme")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="aware UTC"):
        dataclasses.replace(one, since=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_fraction_of_a_second_is_kept() -> None:
    facts = Facts.from_dict(base(as_of="2026-03-02T10:00:00.250000Z"))
    assert facts.as_of == datetime(2026, 3, 2, 10, 0, 0, 250000, tzinfo=UTC)
    assert facts.to_dict()["as_of"] == "2026-03-02T10:00:00.250000Z"
