"""Facts to start from in tests of the law: everything in order, and one change at a time by its path."""

import copy
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from gateway.packs import read_packs
from suppression.decision import Decision, decide
from suppression.facts import Facts
from suppression.jurisdiction import Packs

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
NOW = "2026-03-02T10:00:00Z"

Json = dict[str, Any]


@cache
def packs() -> Packs:
    return read_packs().at(datetime(2026, 3, 2, tzinfo=UTC))


@cache
def _vector_file() -> Json:
    document: Json = json.loads((VECTORS / "decisions.json").read_text("utf-8"))
    return document


def vectors() -> list[Json]:
    """The worked examples: id, title, facts, expected, cite."""
    found: list[Json] = copy.deepcopy(_vector_file()["vectors"])
    return found


def changed(document: Json, changes: Json) -> Json:
    """A copy with the values at dotted paths replaced; `__` also separates, for keyword arguments."""
    result = copy.deepcopy(document)
    for path, value in changes.items():
        *way, last = path.replace("__", ".").split(".")
        at = result
        for name in way:
            at = at[name]
        assert last in at, path
        at[last] = value
    return result


def base(*jurisdictions: str, **changes: Any) -> Json:
    """Marketing of acme to a known person about whom nothing else is recorded."""
    start: Json = copy.deepcopy(_vector_file()["vectors"][0]["facts"])
    start["consents"] = []
    start["jurisdictions"] = list(jurisdictions or ("NL",))
    return changed(start, changes)


def consent(**changes: Any) -> Json:
    """A consent for the newsletter without a fault, given 1 June 2025."""
    record: Json = _vector_file()["vectors"][0]["facts"]["consents"][0]
    return changed(record, changes)


def sale(**changes: Any) -> Json:
    """A purchase of wine without a fault, 10 September 2025."""
    return changed(
        {
            "id": "s1", "controller_id": "acme", "kind": "purchase", "status": "concluded",
            "concluded_at": "2025-09-10T12:00:00Z", "relation_active": False, "relation_ended_at": None,
            "product_categories": ["wine"], "address_source": "given_in_context",
            "opt_out_offered_at_collection": True, "opt_out_used_at_collection": False,
            "privacy_notice_version": "pn5", "opt_out_in_all_messages": True, "marketing_sent_at": [],
        },
        changes,
    )  # fmt: skip


def suppression(**changes: Any) -> Json:
    """An unsubscribe from all marketing of acme, in force."""
    return changed(
        {
            "scope": "sender", "controller_id": "acme", "purpose": None, "reason": "unsubscribe",
            "at": "2026-01-15T08:00:00Z", "lifted_at": None,
        },
        changes,
    )  # fmt: skip


def restriction(**changes: Any) -> Json:
    """A restriction of everything at acme, in force."""
    return changed(
        {"controller_id": "acme", "scope": "all", "purpose": None, "from": "2026-01-15T08:00:00Z", "lifted_at": None},
        changes,
    )


def judged(facts: Json) -> Decision:
    return decide(Facts.from_dict(facts), packs())


def code(facts: Json) -> str:
    """The reason code of facts in JSON form."""
    return judged(facts).reason_code
