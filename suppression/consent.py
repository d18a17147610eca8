"""A consent record: who said yes to whom, for what, when and how, and what proves it.

The record states; `basis.py` judges. Nothing here decides whether a consent is good.

Source: GDPR art. 4(11), 7(1); RULES 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from suppression.fields import (
    COUNT,
    FLAG,
    INSTANT_OR_NULL,
    OBJECT,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    TEXTS_OR_NULL,
    FactsError,
    Shape,
    fault,
    instant,
    instant_or_none,
    one_of,
    require_utc,
    strings,
    written_or_none,
)
from suppression.frozen import quick_init

Source = Literal["own_form", "own_paper", "own_oral", "imported_legacy", "third_party_share", "purchased_list"]
Action = Literal["active_tick", "active_other", "signed", "oral_recorded", "pre_ticked", "silence", "unknown"]

SOURCES: frozenset[str] = frozenset(
    ("own_form", "own_paper", "own_oral", "imported_legacy", "third_party_share", "purchased_list")
)
ACTIONS: frozenset[str] = frozenset(
    ("active_tick", "active_other", "signed", "oral_recorded", "pre_ticked", "silence", "unknown")
)

_BOOL = {bool}

_EVIDENCE: Shape = {
    "method": TEXT_OR_NULL,
    "wording_version": TEXT_OR_NULL,
    "privacy_notice_version": TEXT_OR_NULL,
    "origin": TEXT_OR_NULL,
}
_EVIDENCE_FIELDS = itemgetter(*_EVIDENCE)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What proves a consent: how it was given, the exact wording, the notice shown, where. None: not known."""

    method: str | None
    wording_version: str | None
    privacy_notice_version: str | None
    origin: str | None

    @classmethod
    def from_dict(cls, data: Any, path: str = "evidence") -> Evidence:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            method, wording, notice, origin = values = _EVIDENCE_FIELDS(data)
            if len(data) == 4 and "" not in values and {*map(type, values)} <= {str, type(None)}:
                return cls(method=method, wording_version=wording, privacy_notice_version=notice, origin=origin)
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _EVIDENCE, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "method": self.method,
            "wording_version": self.wording_version,
            "privacy_notice_version": self.privacy_notice_version,
            "origin": self.origin,
        }


_DOUBLE_OPT_IN: Shape = {
    "required": FLAG,
    "requested_at": INSTANT_OR_NULL,
    "confirmed_at": INSTANT_OR_NULL,
    "mails_sent": COUNT,
}
_DOUBLE_OPT_IN_FIELDS = itemgetter(*_DOUBLE_OPT_IN)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleOptIn:
    """The confirmation from the mailbox itself: whether needed, when asked for and given (UTC), mails sent for it."""

    required: bool
    requested_at: datetime | None
    confirmed_at: datetime | None
    mails_sent: int

    def __post_init__(self) -> None:
        if self.requested_at is not None and self.requested_at.tzinfo is not UTC:
            require_utc("requested_at", self.requested_at)
        if self.confirmed_at is not None and self.confirmed_at.tzinfo is not UTC:
            require_utc("confirmed_at", self.confirmed_at)

    @classmethod
    def from_dict(cls, data: Any, path: str = "double_opt_in") -> DoubleOptIn:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            required, requested_at, confirmed_at, mails_sent = _DOUBLE_OPT_IN_FIELDS(data)
            if len(data) == 4 and type(required) is bool and type(mails_sent) is int and mails_sent >= 0:
                return cls(
                    required=required,
                    requested_at=None if requested_at is None else instant(requested_at),
                    confirmed_at=None if confirmed_at is None else instant(confirmed_at),
                    mails_sent=mails_sent,
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _DOUBLE_OPT_IN, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "required": self.required,
            "requested_at": written_or_none(self.requested_at),
            "confirmed_at": written_or_none(self.confirmed_at),
            "mails_sent": self.mails_sent,
        }


_CONSENT: Shape = {
    "id": TEXT,
    "controller_id": TEXT,
    "source": one_of(SOURCES),
    "named_recipients": TEXTS,
    "purposes": TEXTS,
    "product_categories": TEXTS_OR_NULL,
    "advertisers": TEXTS,
    "given_at": INSTANT_OR_NULL,
    "withdrawn_at": INSTANT_OR_NULL,
    "expires_at": INSTANT_OR_NULL,
    "last_interaction_at": INSTANT_OR_NULL,
    "evidence": OBJECT,
    "action": one_of(ACTIONS),
    "bundled_with_terms": FLAG,
    "conditional_on_service": FLAG,
    "granular": FLAG,
    "double_opt_in": OBJECT,
    "parental_authorisation": FLAG,
    "sharing_consent": FLAG,
    "seller_verified": FLAG,
    "buyer_verified": FLAG,
    "explicit_special_category": FLAG,
}
_SCALARS = itemgetter("id", "controller_id", "source", "product_categories", "action")
_FLAGS = itemgetter(*(name for name, kind in _CONSENT.items() if kind is FLAG))
_INSTANTS = itemgetter("given_at", "withdrawn_at", "expires_at", "last_interaction_at")


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One consent as recorded; fields as in decisions.schema.json. Instants are aware UTC; None: not known.

    `controller_id` is who collected it; `product_categories` None means every category within the purposes;
    `last_interaction_at` is the last deliberate act (an open is not one).
    """

    id: str
    controller_id: str
    source: Source
    named_recipients: tuple[str, ...]
    purposes: tuple[str, ...]
    product_categories: tuple[str, ...] | None
    advertisers: tuple[str, ...]
    given_at: datetime | None
    withdrawn_at: datetime | None
    expires_at: datetime | None
    last_interaction_at: datetime | None
    evidence: Evidence
    action: Action
    bundled_with_terms: bool
    conditional_on_service: bool
    granular: bool
    double_opt_in: DoubleOptIn
    parental_authorisation: bool
    sharing_consent: bool
    seller_verified: bool
    buyer_verified: bool
    explicit_special_category: bool

    def __post_init__(self) -> None:
        if self.given_at is not None and self.given_at.tzinfo is not UTC:
            require_utc("given_at", self.given_at)
        if self.withdrawn_at is not None and self.withdrawn_at.tzinfo is not UTC:
            require_utc("withdrawn_at", self.withdrawn_at)
        if self.expires_at is not None and self.expires_at.tzinfo is not UTC:
            require_utc("expires_at", self.expires_at)
        if self.last_interaction_at is not None and self.last_interaction_at.tzinfo is not UTC:
            require_utc("last_interaction_at", self.last_interaction_at)

    @classmethod
    def from_dict(cls, data: Any, path: str = "consents[]") -> Consent:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            id_, controller_id, source, categories, action = _SCALARS(data)
            bundled, conditional, granular, parent, sharing, seller, buyer, special = flags = _FLAGS(data)
            given, withdrawn, expires, interaction = _INSTANTS(data)
            evidence, confirmation = data["evidence"], data["double_opt_in"]
            if (
                len(data) == 22
                and type(id_) is str
                and id_
                and type(controller_id) is str
                and controller_id
                and source in SOURCES
                and action in ACTIONS
                and {*map(type, flags)} == _BOOL
                and type(evidence) is dict
                and type(confirmation) is dict
            ):
                return cls(
                    id=id_,
                    controller_id=controller_id,
                    source=source,
                    named_recipients=strings(data["named_recipients"]),
                    purposes=strings(data["purposes"]),
                    product_categories=None if categories is None else strings(categories),
                    advertisers=strings(data["advertisers"]),
                    given_at=instant_or_none(given),
                    withdrawn_at=None if withdrawn is None else instant(withdrawn),
                    expires_at=None if expires is None else instant(expires),
                    last_interaction_at=None if interaction is None else instant(interaction),
                    evidence=Evidence.from_dict(evidence, f"{path}.evidence"),
                    action=action,
                    bundled_with_terms=bundled,
                    conditional_on_service=conditional,
                    granular=granular,
                    double_opt_in=DoubleOptIn.from_dict(confirmation, f"{path}.double_opt_in"),
                    parental_authorisation=parent,
                    sharing_consent=sharing,
                    seller_verified=seller,
                    buyer_verified=buyer,
                    explicit_special_category=special,
                )
        except FactsError:
            raise
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _CONSENT, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "id": self.id,
            "controller_id": self.controller_id,
            "source": self.source,
            "named_recipients": list(self.named_recipients),
            "purposes": list(self.purposes),
            "product_categories": None if self.product_categories is None else list(self.product_categories),
            "advertisers": list(self.advertisers),
            "given_at": written_or_none(self.given_at),
            "withdrawn_at": written_or_none(self.withdrawn_at),
            "expires_at": written_or_none(self.expires_at),
            "last_interaction_at": written_or_none(self.last_interaction_at),
            "evidence": self.evidence.to_dict(),
            "action": self.action,
            "bundled_with_terms": self.bundled_with_terms,
            "conditional_on_service": self.conditional_on_service,
            "granular": self.granular,
            "double_opt_in": self.double_opt_in.to_dict(),
            "parental_authorisation": self.parental_authorisation,
            "sharing_consent": self.sharing_consent,
            "seller_verified": self.seller_verified,
            "buyer_verified": self.buyer_verified,
            "explicit_special_category": self.explicit_special_category,
        }
