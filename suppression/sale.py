"""A record of a customer relation: a sale, a contract, a donation ..., and what was offered when the address was given.

The record states; `basis.py` judges (D4, D6). Nothing here decides whether a relation carries marketing.

Source: Directive 2002/58/EC art. 13(2); RULES 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from suppression.fields import (
    FLAG,
    INSTANT,
    INSTANT_OR_NULL,
    INSTANTS,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    Shape,
    fault,
    instant,
    one_of,
    require_utc,
    strings,
    written,
    written_or_none,
)
from suppression.frozen import quick_init

SaleKind = Literal[
    "purchase", "contract", "negotiation", "inquiry", "free_account",
    "donation", "volunteering", "expression_of_interest", "membership", "contest",
]  # fmt: skip
SaleStatus = Literal["concluded", "void"]
SaleAddressSource = Literal["given_in_context", "given_elsewhere", "third_party", "unknown"]

SALE_KINDS: frozenset[str] = frozenset(
    (
        "purchase", "contract", "negotiation", "inquiry", "free_account",
        "donation", "volunteering", "expression_of_interest", "membership", "contest",
    )
)  # fmt: skip
_STATUSES = frozenset(("concluded", "void"))
_ADDRESS_SOURCES = frozenset(("given_in_context", "given_elsewhere", "third_party", "unknown"))

_SHAPE: Shape = {
    "id": TEXT,
    "controller_id": TEXT,
    "kind": one_of(SALE_KINDS),
    "status": one_of(_STATUSES),
    "concluded_at": INSTANT,
    "relation_active": FLAG,
    "relation_ended_at": INSTANT_OR_NULL,
    "product_categories": TEXTS,
    "address_source": one_of(_ADDRESS_SOURCES),
    "opt_out_offered_at_collection": FLAG,
    "opt_out_used_at_collection": FLAG,
    "privacy_notice_version": TEXT_OR_NULL,
    "opt_out_in_all_messages": FLAG,
    "marketing_sent_at": INSTANTS,
}
_FIELDS = itemgetter(*_SHAPE)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """One customer relation as recorded; fields as in decisions.schema.json. Instants are aware UTC.

    `concluded_at` is also when the address was collected. `marketing_sent_at` need not be in order.
    """

    id: str
    controller_id: str
    kind: SaleKind
    status: SaleStatus
    concluded_at: datetime
    relation_active: bool
    relation_ended_at: datetime | None
    product_categories: tuple[str, ...]
    address_source: SaleAddressSource
    opt_out_offered_at_collection: bool
    opt_out_used_at_collection: bool
    privacy_notice_version: str | None
    opt_out_in_all_messages: bool
    marketing_sent_at: tuple[datetime, ...]

    def __post_init__(self) -> None:
        if self.concluded_at.tzinfo is not UTC:
            require_utc("concluded_at", self.concluded_at)
        if self.relation_ended_at is not None and self.relation_ended_at.tzinfo is not UTC:
            require_utc("relation_ended_at", self.relation_ended_at)
        for at in self.marketing_sent_at:
            require_utc("marketing_sent_at", at)

    @classmethod
    def from_dict(cls, data: Any, path: str = "sales[]") -> Sale:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            (
                id_, controller_id, kind, status, concluded_at, active, ended_at, categories,
                address_source, offered, used, notice, in_all_messages, sent_at,
            ) = _FIELDS(data)  # fmt: skip
            if (
                len(data) == 14
                and type(id_) is str
                and id_
                and type(controller_id) is str
                and controller_id
                and kind in SALE_KINDS
                and status in _STATUSES
                and address_source in _ADDRESS_SOURCES
                and {type(active), type(offered), type(used), type(in_all_messages)} == {bool}
                and (notice is None or (type(notice) is str and notice))
                and type(sent_at) is list
            ):
                return cls(
                    id=id_,
                    controller_id=controller_id,
                    kind=kind,
                    status=status,
                    concluded_at=instant(concluded_at),
                    relation_active=active,
                    relation_ended_at=None if ended_at is None else instant(ended_at),
                    product_categories=strings(categories),
                    address_source=address_source,
                    opt_out_offered_at_collection=offered,
                    opt_out_used_at_collection=used,
                    privacy_notice_version=notice,
                    opt_out_in_all_messages=in_all_messages,
                    marketing_sent_at=tuple([instant(at) for at in sent_at]) if sent_at else (),
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _SHAPE, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "id": self.id,
            "controller_id": self.controller_id,
            "kind": self.kind,
            "status": self.status,
            "concluded_at": written(self.concluded_at),
            "relation_active": self.relation_active,
            "relation_ended_at": written_or_none(self.relation_ended_at),
            "product_categories": list(self.product_categories),
            "address_source": self.address_source,
            "opt_out_offered_at_collection": self.opt_out_offered_at_collection,
            "opt_out_used_at_collection": self.opt_out_used_at_collection,
            "privacy_notice_version": self.privacy_notice_version,
            "opt_out_in_all_messages": self.opt_out_in_all_messages,
            "marketing_sent_at": [written(at) for at in self.marketing_sent_at],
        }
