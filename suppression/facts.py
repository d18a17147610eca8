"""What is known about one sender, one message and one recipient at one instant: the input of `decide`.

Field names are those of decisions.schema.json; `class` is `message_class`, `from` is `since`,
`infrastructure.dkim_ready` is `dkim_ready`. "Not known" is None, False or "unknown" as the schema says, and never leads
to allow for marketing (RULES 2.1.3).

Source: RULES 2.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any, Literal, TypeVar, get_args

from suppression.consent import Consent, DoubleOptIn, Evidence
from suppression.fields import (
    DAY_OR_NULL,
    FLAG,
    INSTANT,
    OBJECT,
    OBJECTS,
    PAIRS,
    TEXT,
    TEXT_OR_NULL,
    UNIQUE_TEXTS,
    FactsError,
    Kind,
    Shape,
    day,
    fault,
    instant,
    one_of,
    one_of_or_null,
    require_utc,
    strings,
    written,
)
from suppression.frozen import quick_init
from suppression.restriction import ErasureRequest, Restriction
from suppression.sale import Sale
from suppression.sender import Sender
from suppression.suppression_list import Suppression

#: The records are defined in modules of their own; whoever builds facts finds them all here.
__all__ = [
    "Consent",
    "DoubleOptIn",
    "ErasureRequest",
    "Evidence",
    "Facts",
    "FactsError",
    "Message",
    "Recipient",
    "Restriction",
    "Sale",
    "Sender",
    "Suppression",
]

StreamClass = Literal["marketing", "mixed", "consent_request", "transactional", "mandatory_notice", "doi_confirmation"]
#: What a message is (RULES 2.2): as its stream says, or nobody knows.
MessageClass = StreamClass | Literal["unknown"]
#: Classes that need a ground of their own.
MARKETING: frozenset[str] = frozenset(("marketing", "mixed", "consent_request"))
Exemption = Literal["data_subject_consent", "legal_claims", "protect_other_person", "public_interest"]
Unsubscribe = Literal["injectable", "present", "not_injectable"]
PersonKind = Literal["natural_person", "sole_trader", "legal_person", "unknown"]
AddressKind = Literal["personal", "role", "unknown"]
AddressSource = Literal["own_collection", "purchased", "harvested", "unknown"]

_CLASSES = frozenset((*get_args(StreamClass), "unknown"))
_EXEMPTIONS = frozenset(("data_subject_consent", "legal_claims", "protect_other_person", "public_interest"))
_UNSUBSCRIBES = frozenset(("injectable", "present", "not_injectable"))
_KINDS = frozenset(("natural_person", "sole_trader", "legal_person", "unknown"))
_ADDRESS_KINDS = frozenset(("personal", "role", "unknown"))
_ADDRESS_SOURCES = frozenset(("own_collection", "purchased", "harvested", "unknown"))
_BOOL = {bool}
T = TypeVar("T")

_MESSAGE: Shape = {
    "class": one_of(_CLASSES),
    "promotional_content": FLAG,
    "purpose": TEXT_OR_NULL,
    "product_categories": UNIQUE_TEXTS,
    "advertiser_id": TEXT,
    "charitable_only": FLAG,
    "uses_special_category": FLAG,
    "b2b_relevant": FLAG,
    "transaction_ref_present": FLAG,
    "restriction_exemption": one_of_or_null(_EXEMPTIONS),
    "unsubscribe": one_of(_UNSUBSCRIBES),
    "ad_identifiable": FLAG,
}
_MESSAGE_FIELDS = itemgetter(*_MESSAGE)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the message is about and whose offer it is. `message_class` is the declared class."""

    message_class: MessageClass
    promotional_content: bool
    purpose: str | None
    product_categories: tuple[str, ...]
    advertiser_id: str
    charitable_only: bool
    uses_special_category: bool
    b2b_relevant: bool
    transaction_ref_present: bool
    restriction_exemption: Exemption | None
    unsubscribe: Unsubscribe
    ad_identifiable: bool

    @classmethod
    def from_dict(cls, data: Any, path: str = "message") -> Message:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            (
                class_, promotional, purpose, categories, advertiser, charitable, special,
                b2b, transaction, exemption, unsubscribe, identifiable,
            ) = _MESSAGE_FIELDS(data)  # fmt: skip
            if (
                len(data) == 12
                and class_ in _CLASSES
                and unsubscribe in _UNSUBSCRIBES
                and (purpose is None or (type(purpose) is str and purpose))
                and type(advertiser) is str
                and advertiser
                and (exemption is None or exemption in _EXEMPTIONS)
                and {*map(type, (promotional, charitable, special, b2b, transaction, identifiable))} == _BOOL
                and (len(categories) < 2 or len({*categories}) == len(categories))
            ):
                return cls(
                    message_class=class_,
                    promotional_content=promotional,
                    purpose=purpose,
                    product_categories=strings(categories),
                    advertiser_id=advertiser,
                    charitable_only=charitable,
                    uses_special_category=special,
                    b2b_relevant=b2b,
                    transaction_ref_present=transaction,
                    restriction_exemption=exemption,
                    unsubscribe=unsubscribe,
                    ad_identifiable=identifiable,
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _MESSAGE, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        values = {name: getattr(self, name) for name in _MESSAGE if name != "class"}
        return {"class": self.message_class, **values, "product_categories": list(self.product_categories)}


_RECIPIENT: Shape = {
    "address_valid": FLAG,
    "undeliverable": FLAG,
    "known": FLAG,
    "kind": one_of(_KINDS),
    "address_kind": one_of(_ADDRESS_KINDS),
    "address_source": one_of(_ADDRESS_SOURCES),
    "published_for_marketing": FLAG,
    "informed_at_collection": FLAG,
    "birth_date": DAY_OR_NULL,
    "parental_authorisation": FLAG,
    "on_exclusion_register": FLAG,
}
_RECIPIENT_FIELDS = itemgetter(*_RECIPIENT)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The person behind the address, as far as known. No address here: the store has matched it already."""

    address_valid: bool
    undeliverable: bool
    known: bool
    kind: PersonKind
    address_kind: AddressKind
    address_source: AddressSource
    published_for_marketing: bool
    informed_at_collection: bool
    birth_date: date | None
    parental_authorisation: bool
    on_exclusion_register: bool

    @classmethod
    def from_dict(cls, data: Any, path: str = "recipient") -> Recipient:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            (
                valid, undeliverable, known, kind, address_kind, address_source,
                published, informed, birth_date, parent, on_register,
            ) = _RECIPIENT_FIELDS(data)  # fmt: skip
            if (
                len(data) == 11
                and kind in _KINDS
                and address_kind in _ADDRESS_KINDS
                and address_source in _ADDRESS_SOURCES
                and {*map(type, (valid, undeliverable, known, published, informed, parent, on_register))} == _BOOL
            ):
                return cls(
                    address_valid=valid,
                    undeliverable=undeliverable,
                    known=known,
                    kind=kind,
                    address_kind=address_kind,
                    address_source=address_source,
                    published_for_marketing=published,
                    informed_at_collection=informed,
                    birth_date=None if birth_date is None else day(birth_date),
                    parental_authorisation=parent,
                    on_exclusion_register=on_register,
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _RECIPIENT, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        values = {name: getattr(self, name) for name in _RECIPIENT}
        return {**values, "birth_date": None if self.birth_date is None else self.birth_date.isoformat()}


def _is_pack_code(value: object) -> bool:
    return type(value) is str and len(value) == 2 and value.isascii() and value.isalpha() and value.isupper()


_CODES = Kind("a list of two-letter pack codes such as NL", lambda v: type(v) is list and all(map(_is_pack_code, v)))
_FACTS: Shape = {
    "schema": Kind("the text facts/1", lambda v: v == "facts/1"),
    "as_of": INSTANT,
    "jurisdictions": _CODES,
    "stores_available": FLAG,
    "infrastructure": OBJECT,
    "sender": OBJECT,
    "message": OBJECT,
    "recipient": OBJECT,
    "suppressions": OBJECTS,
    "restrictions": OBJECTS,
    "erasure_requests": OBJECTS,
    "consents": OBJECTS,
    "sales": OBJECTS,
    "similar_categories": PAIRS,
}
_FACTS_FIELDS = itemgetter(*_FACTS)
_INFRASTRUCTURE: Shape = {"dkim_ready": FLAG}


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a decision rests on. `as_of` is the instant of hand-over to the next hop (aware UTC).

    `jurisdictions` are pack codes that must all allow; empty means pack UNKNOWN. `suppressions`, `consents` and `sales`
    are those of this address, of any controller. `similar_categories` are unordered pairs, symmetric, not transitive.
    """

    as_of: datetime
    jurisdictions: tuple[str, ...]
    stores_available: bool
    dkim_ready: bool
    sender: Sender
    message: Message
    recipient: Recipient
    suppressions: tuple[Suppression, ...]
    restrictions: tuple[Restriction, ...]
    erasure_requests: tuple[ErasureRequest, ...]
    consents: tuple[Consent, ...]
    sales: tuple[Sale, ...]
    similar_categories: frozenset[frozenset[str]]

    def __post_init__(self) -> None:
        if self.as_of.tzinfo is not UTC:
            require_utc("as_of", self.as_of)

    @classmethod
    def from_dict(cls, data: Any, path: str = "facts") -> Facts:
        """Read the schema's object. Raises FactsError with the field's path; a field is never guessed."""
        try:
            (
                schema, as_of, jurisdictions, stores, infrastructure, sender, message, recipient,
                suppressions, restrictions, erasures, consents, sales, similar,
            ) = _FACTS_FIELDS(data)  # fmt: skip
            lists = (jurisdictions, suppressions, restrictions, erasures, consents, sales, similar)
            if (
                len(data) == 14
                and schema == "facts/1"
                and type(stores) is bool
                and {*map(type, lists)} == {list}
                and all(map(_is_pack_code, jurisdictions))
            ):
                return cls(
                    as_of=instant(as_of),
                    jurisdictions=tuple(jurisdictions),
                    stores_available=stores,
                    dkim_ready=_dkim_ready(infrastructure),
                    sender=Sender.from_dict(sender),
                    message=Message.from_dict(message),
                    recipient=Recipient.from_dict(recipient),
                    suppressions=_each(Suppression.from_dict, suppressions, "suppressions") if suppressions else (),
                    restrictions=_each(Restriction.from_dict, restrictions, "restrictions") if restrictions else (),
                    erasure_requests=_each(ErasureRequest.from_dict, erasures, "erasure_requests") if erasures else (),
                    consents=_each(Consent.from_dict, consents, "consents") if consents else (),
                    sales=_each(Sale.from_dict, sales, "sales") if sales else (),
                    similar_categories=_pairs(similar),
                )
        except FactsError as error:
            raise FactsError(f"{path}.{error.path}", error.what) from None
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _FACTS, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object; `from_dict` reads it back to an equal value."""
        return {
            "schema": "facts/1",
            "as_of": written(self.as_of),
            "jurisdictions": list(self.jurisdictions),
            "stores_available": self.stores_available,
            "infrastructure": {"dkim_ready": self.dkim_ready},
            "sender": self.sender.to_dict(),
            "message": self.message.to_dict(),
            "recipient": self.recipient.to_dict(),
            "suppressions": [entry.to_dict() for entry in self.suppressions],
            "restrictions": [entry.to_dict() for entry in self.restrictions],
            "erasure_requests": [entry.to_dict() for entry in self.erasure_requests],
            "consents": [record.to_dict() for record in self.consents],
            "sales": [record.to_dict() for record in self.sales],
            "similar_categories": sorted([min(pair), max(pair)] for pair in self.similar_categories),
        }


def _dkim_ready(data: Any) -> bool:
    if type(data) is dict and len(data) == 1 and type(ready := data.get("dkim_ready")) is bool:
        return ready
    raise fault(data, _INFRASTRUCTURE, "infrastructure")


def _each(read: Callable[[Any, str], T], items: list[Any], name: str) -> tuple[T, ...]:
    return tuple([read(item, f"{name}[{at}]") for at, item in enumerate(items)])


def _pairs(items: list[Any]) -> frozenset[frozenset[str]]:
    pairs = []
    for item in items:
        one, other = item
        if type(item) is not list or type(one) is not str or type(other) is not str or not one or not other:
            raise ValueError("not a pair")
        pairs.append(frozenset(item))
    return frozenset(pairs)
