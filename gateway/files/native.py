"""Our own import format: rows as records of the decision schema.

Columns are `email` and the schema's field names, dots for nesting, `|` between list items. An empty cell is an absent
field, and an absent field takes the value that blocks (RULES.md 2.1.3): each row of the tables below says which. Only
what limits or ends a record means "none" when absent: categories of a consent, withdrawal, expiry, end of a relation.

Source: RULES.md 4.1; decisions.schema.json.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from gateway.files.cell import (
    BadCell,
    Read,
    count,
    country,
    day,
    empty,
    flag,
    instant,
    items,
    language,
    one_of,
    text,
)
from suppression.address import canonical
from suppression.consent import ACTIONS, SOURCES
from suppression.facts import AddressKind, AddressSource, PersonKind
from suppression.frozen import quick_init
from suppression.ledger import encode
from suppression.sale import SALE_KINDS, SaleAddressSource, SaleStatus
from suppression.suppression_list import REASONS, SCOPES

Kind = Literal["consents", "sales", "people", "suppressions"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
LONG_AGO: Final = "1970-01-01T00:00:00Z"
"""The time of a sale whose time is not known: no window reaches that far back."""
REMEMBERED: Final = 64
"""Values of one column that are kept, so that a cell seen before is not read again."""


class Field(NamedTuple):
    """One column: how a cell of it is read, and the value of a record that does not have it."""

    read: Read
    absent: Any


def _texts(cell: str) -> Any:
    return items(text)(cell)


_OWN_ID = Field(text, None)  # generated from the content
_LIST = Field(_texts, [])  # shared by all records without one: no record is changed in place

CONSENT: Final[Mapping[str, Field]] = {
    "id": _OWN_ID,
    "controller_id": Field(text, None),
    "source": Field(one_of(SOURCES), "purchased_list"),
    "named_recipients": _LIST,
    "purposes": _LIST,
    "product_categories": Field(_texts, None),
    "advertisers": _LIST,
    "given_at": Field(instant, None),
    "withdrawn_at": Field(instant, None),
    "expires_at": Field(instant, None),
    "last_interaction_at": Field(instant, None),
    "evidence.method": Field(text, None),
    "evidence.wording_version": Field(text, None),
    "evidence.privacy_notice_version": Field(text, None),
    "evidence.origin": Field(text, None),
    "action": Field(one_of(ACTIONS), "unknown"),
    "bundled_with_terms": Field(flag, True),
    "conditional_on_service": Field(flag, True),
    "granular": Field(flag, False),
    "double_opt_in.required": Field(flag, True),
    "double_opt_in.requested_at": Field(instant, None),
    "double_opt_in.confirmed_at": Field(instant, None),
    "double_opt_in.mails_sent": Field(count, 1),  # B6: the one confirmation mail there may be was sent
    "parental_authorisation": Field(flag, False),
    "sharing_consent": Field(flag, False),
    "seller_verified": Field(flag, False),
    "buyer_verified": Field(flag, False),
    "explicit_special_category": Field(flag, False),
}
SALE: Final[Mapping[str, Field]] = {
    "id": _OWN_ID,
    "controller_id": Field(text, None),
    "kind": Field(one_of(SALE_KINDS), "contest"),  # a sale context in no pack
    "status": Field(one_of(get_args(SaleStatus)), "void"),
    "concluded_at": Field(instant, None),
    "relation_active": Field(flag, False),
    "relation_ended_at": Field(instant, None),
    "product_categories": _LIST,
    "address_source": Field(one_of(get_args(SaleAddressSource)), "unknown"),
    "opt_out_offered_at_collection": Field(flag, False),
    "opt_out_used_at_collection": Field(flag, True),
    "privacy_notice_version": Field(text, None),
    "opt_out_in_all_messages": Field(flag, False),
    "marketing_sent_at": Field(items(instant), []),
}
RECIPIENT: Final[Mapping[str, Field]] = {
    "kind": Field(one_of(get_args(PersonKind)), "unknown"),
    "address_kind": Field(one_of(get_args(AddressKind)), "unknown"),
    "address_source": Field(one_of(get_args(AddressSource)), "unknown"),
    "published_for_marketing": Field(flag, False),
    "informed_at_collection": Field(flag, False),
    "birth_date": Field(day, None),
    "parental_authorisation": Field(flag, False),
    "on_exclusion_register": Field(flag, True),
}
PERSON: Final[Mapping[str, Field]] = {
    **RECIPIENT,
    # The gateway's own findings: they may stand in the file, and only bad news is believed.
    "address_valid": Field(flag, None),
    "undeliverable": Field(flag, None),
    "known": Field(flag, None),
    "country": Field(country, None),
    "billing_country": Field(country, None),
    "language": Field(language, None),
    "name": Field(text, None),
    "external_id": Field(text, None),
}
PROFILE: Final = ("name", "external_id")
"""Columns of people that serve staff only; no decision looks at them."""
SUPPRESSION: Final[Mapping[str, Field]] = {
    "scope": Field(one_of(SCOPES), "sender"),
    "controller_id": Field(text, None),
    "purpose": Field(text, None),
    "reason": Field(one_of(REASONS), "admin"),
    "at": Field(instant, None),  # the moment of the import
    "lifted_at": Field(empty("cannot be imported: no import lifts an opt-out. Empty it, or leave the row out."), None),
}
FIELDS: Final[Mapping[Kind, Mapping[str, Field]]] = {
    "consents": CONSENT,
    "sales": SALE,
    "people": PERSON,
    "suppressions": SUPPRESSION,
}


def columns(kind: Kind) -> tuple[str, ...]:
    """Every column a file of this kind may have."""
    return ("email", *FIELDS[kind])


def _absent(fields: Mapping[str, Field], within: str = "") -> dict[str, Any]:
    """The values of a record without any field; `within`: of the object of that name in it."""
    return {name.removeprefix(within): field.absent for name, field in fields.items() if name.startswith(within)}


_PARTS: Final = {name: name.partition(".") for name in CONSENT}
_EVIDENCE: Final = _absent(CONSENT, "evidence.")
_DOUBLE_OPT_IN: Final = _absent(CONSENT, "double_opt_in.")
_NO_ID: Final = b'"id":null'
_CONSENT: Final = {name: value for name, value in _absent(CONSENT).items() if "." not in name}


@quick_init
@dataclass(frozen=True, slots=True)
class Stated:
    """What one good row says. `address` is canonical (RULES.md 2.1.8).

    `fields`: for consents and sales the schema's object, with `id` None where the row has none; for people what the
    row declares, by schema name; for suppressions scope, purpose, reason and at, with `at` None for "now".
    `opted_out`: the row itself says that the person used an opt-out, which undoing the import does not take back.
    """

    address: str
    fields: dict[str, Any]
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is not taken in: per fault the column, what is wrong and what to do."""

    reasons: tuple[str, ...]


@dataclass(slots=True)
class Native:
    """Reads the rows of one file of one kind for one controller. `purposes`: those the controller has declared."""

    kind: Kind
    columns: Sequence[str]
    controller_id: str
    purposes: Sequence[str] = ()
    _readers: list[tuple[str, Read, dict[str, Any]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        fields = FIELDS[self.kind]
        for name in self.columns:
            read = _address if name == "email" else self._own if name == "controller_id" else fields[name].read
            self._readers.append((name, read, {}))

    def read(self, cells: Sequence[str]) -> Stated | Rejected:
        """One row, with as many cells as there are columns or more."""
        given: dict[str, Any] = {}
        faults: list[str] = []
        for (name, read, known), cell in zip(self._readers, cells, strict=False):
            if not cell:
                continue
            if cell in known:  # most columns of a file repeat a few values
                given[name] = known[cell]
                continue
            trimmed = cell.strip()
            if trimmed:
                try:
                    given[name] = read(trimmed)
                except BadCell as bad:
                    faults.append(f"{name}: {bad}")
                else:
                    if len(known) < REMEMBERED:
                        known[cell] = given[name]
        if "email" not in given and not any(fault.startswith("email:") for fault in faults):
            faults.append("email: is empty. Write the address of the person.")
        if faults:
            return Rejected(tuple(faults))
        address = given.pop("email")
        return Stated(address, _COMPOSE[self.kind](self, given), bool(given.get("opt_out_used_at_collection")))

    def _own(self, cell: str) -> str:
        if cell != self.controller_id:
            raise BadCell(f"is another controller's. Import it for that one; {self.controller_id} is meant here.")
        return cell

    def consent(self, given: dict[str, Any]) -> dict[str, Any]:
        """The consent of a row.

        A withdrawal must count even where the row leaves open what was withdrawn: without purposes it counts for every
        declared one, and without a source this controller is taken as named. Such a record never allows: granular
        stays false, and the list unverified.
        """
        record: dict[str, Any] = {**_CONSENT, "controller_id": self.controller_id}
        evidence, confirmation = dict(_EVIDENCE), dict(_DOUBLE_OPT_IN)
        for name, value in given.items():
            outer, dot, inner = _PARTS[name]
            if not dot:
                record[name] = value
            elif outer == "evidence":
                evidence[inner] = value
            else:
                confirmation[inner] = value
        record["evidence"], record["double_opt_in"] = evidence, confirmation
        if record["withdrawn_at"] is not None:
            if "purposes" not in given:
                record["purposes"], record["granular"] = list(self.purposes), False
            if "source" not in given:
                record["named_recipients"] = [*record["named_recipients"], self.controller_id]
                record["seller_verified"] = False
        return record

    def sale(self, given: dict[str, Any]) -> dict[str, Any]:
        """The customer relation of a row. One that nobody can date is no proven sale: it is void, long ago."""
        record = {**_absent(SALE), **given}
        if record["concluded_at"] is None:
            record["concluded_at"], record["status"] = LONG_AGO, "void"
        record["controller_id"] = self.controller_id
        return record

    def person(self, given: dict[str, Any]) -> dict[str, Any]:
        """What a row declares of a person; what it leaves out is added by the standing, where nothing was declared."""
        return given

    def suppression(self, given: dict[str, Any]) -> dict[str, Any]:
        """The suppression of a row. A purpose counts for scope purpose only: the wider scopes cover every purpose."""
        record = {**_absent(SUPPRESSION), **given}
        return {
            "scope": record["scope"], "purpose": record["purpose"] if record["scope"] == "purpose" else None,
            "reason": record["reason"], "at": record["at"],
        }  # fmt: skip


_COMPOSE: Final[Mapping[Kind, Callable[[Native, dict[str, Any]], dict[str, Any]]]] = {
    "consents": Native.consent,
    "sales": Native.sale,
    "people": Native.person,
    "suppressions": Native.suppression,
}


def identified(kind: Kind, recipient_key: bytes, record: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The record of a row and its canonical JSON. One that came without an id gets one made from its content.

    The same person and content give the same id, in the form of a UUID. The person is named by recipient key, which
    also stands for the controller: whoever reads the id learns no address.
    """
    content = encode(record)
    if record["id"] is not None:
        return record, content
    digest = hashlib.sha256(kind.encode() + b"/" + recipient_key + content).hexdigest()
    made = f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
    whole = {**record, "id": made}
    if content.count(_NO_ID) == 1:  # in a text the quotation marks would be escaped
        return whole, content.replace(_NO_ID, b'"id":"%s"' % made.encode())
    return whole, encode(whole)


def absent_recipient() -> dict[str, Any]:
    """What holds of a person's recipient fields until somebody declares them."""
    return {name: field.absent for name, field in RECIPIENT.items()}


def _address(cell: str) -> str:
    plain = canonical(cell)
    if plain is None:
        raise BadCell("is not an e-mail address. Write it as name@example.com.")
    return plain
