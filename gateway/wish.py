"""What somebody signed up for, as a value, and what is kept of it: the consent record, and what is apart for a time.

Pure but for its settings: made by the form's page and by the API, stored by sign_up.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from gateway.config import Controller, Form
from gateway.store.asking import Once
from gateway.words import Language
from suppression.fields import written


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody signed up for. `address` is canonical, `at` aware UTC.

    `evidence`: as in the consent record. `network`: the IPv4 address or IPv6 /64 it came from, None where unknown.
    `parent`: the address is a parent's, who is asked in the name of a child. `record`: fields of the consent record
    that are other than for a form of ours. `speaks`: the language is the person's own choice. `told`: it is the
    controller that says so, not a visitor of a form. `once`: see asking.Once.
    """

    address: str
    purposes: tuple[str, ...]
    language: Language
    evidence: Mapping[str, str | None]
    at: datetime
    network: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    birth_date: date | None = None
    parent: bool = False
    record: Mapping[str, Any] | None = None
    speaks: bool = True
    told: bool = False
    once: Once | None = None


def record_of(
    controller: Controller, wish: Wish, request_id: str, at: datetime, *, double_opt_in: bool
) -> dict[str, Any]:
    """The consent record as in the decision schema: each purpose had a box of its own, none of them ticked."""
    given = written(at.replace(microsecond=0))
    return {
        "id": request_id, "controller_id": controller.id, "source": "own_form", "named_recipients": [],
        "purposes": list(wish.purposes), "product_categories": None, "advertisers": [], "given_at": given,
        "withdrawn_at": None, "expires_at": None, "last_interaction_at": None, "evidence": dict(wish.evidence),
        "action": "active_tick", "bundled_with_terms": False, "conditional_on_service": False, "granular": True,
        "double_opt_in": {
            "required": double_opt_in, "requested_at": given if double_opt_in else None, "confirmed_at": None,
            "mails_sent": 0,
        },
        "parental_authorisation": False, "sharing_consent": False, "seller_verified": False, "buyer_verified": False,
        "explicit_special_category": False, **(wish.record or {}),
    }  # fmt: skip


def trace_of(form: Form | None, wish: Wish, consent_id: str) -> dict[str, Any]:
    """What is kept apart from the ledger: needed at the confirmation, or for twelve months only."""
    trace = {
        "id": consent_id, "form": form.name if form is not None else None, "language": wish.language,
        "speaks": wish.speaks, "parent": wish.parent, "birth_date": _born(wish), "purposes": list(wish.purposes),
    }  # fmt: skip
    if form is None or form.keep_origin:
        trace |= {"ip": wish.ip, "user_agent": wish.user_agent}
    return trace


def facts_of(wish: Wish) -> dict[str, str]:
    """What is said of the person themselves."""
    facts = {"language": wish.language if wish.speaks else None, "birth_date": _born(wish)}
    return {name: value for name, value in facts.items() if value is not None}


def _born(wish: Wish) -> str | None:
    return wish.birth_date.isoformat() if wish.birth_date is not None else None
