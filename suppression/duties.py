"""Stages E to G of the decision: what every marketing message must carry, and the signing key.

Stage E runs per pack, in list order, once every pack has allowed in stage D. Read the rows beside RULES 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from suppression.facts import Facts
from suppression.pack import Pack
from suppression.rules import Block, Defer


class Duty(NamedTuple):
    """One row: `missing` hits when the duty is not met under the pack; its third argument is the pack's ground."""

    id: str
    source: str
    missing: Callable[[Facts, Pack, str], bool]
    effect: Block | Defer


def _not_recognisable(facts: Facts, pack: Pack, basis: str) -> bool:
    if facts.message.ad_identifiable or pack.ad_label == "never":
        return False
    return not (pack.ad_label == "unless_consent" and basis == "opt_in")


#: Stage E, all message-level (RULES 2.4).
DUTIES: tuple[Duty, ...] = (
    Duty("E1", "ePD 13(4) \"on whose behalf\"; Tw 11.7; CEL XII.12",
         lambda f, p, basis: not f.sender.legal_name_present, Block("SENDER_IDENTITY_MISSING")),
    Duty("E2", "ePD 13(4)",
         lambda f, p, basis: not f.sender.from_domain_verified, Block("SENDER_IDENTITY_CONCEALED")),
    Duty("E3", "NL, BE: product default; CASL 6(2); 15 USC 7704(a)(5)",
         lambda f, p, basis: p.postal_address_required and not f.sender.postal_address_present,
         Block("POSTAL_ADDRESS_MISSING")),
    Duty("E4", "ePD 13(4)",
         lambda f, p, basis: not f.sender.opt_out_contact_present, Block("OPT_OUT_CONTACT_MISSING")),
    Duty("E5", "Dir 2000/31 6(a); 15 USC 7704(a)(5)", _not_recognisable, Block("AD_NOT_IDENTIFIABLE")),
    Duty("E6", "ePD 13(2), (4)",
         lambda f, p, basis: f.message.unsubscribe not in ("present", "injectable"),
         Block("UNSUBSCRIBE_NOT_INJECTABLE")),
)  # fmt: skip


def opt_out_is_acknowledged(codes: Collection[str], *, known: bool, home: str) -> bool:
    """Whether whoever opts out has to get an e-mail saying that this is registered.

    `codes`: the packs the person falls under; `known`: their country is known. Where it is not, a Belgian sender is
    held to Belgian law: one mail too many offends nobody.

    Source: Royal Decree of 4 April 2003, art. 2; RULES 5.2.9.
    """
    return "BE" in codes or (home == "BE" and not known)


#: Stage F: marketing never leaves unsigned.
SIGNING = Duty("F", "RFC 8058 3.1", lambda f, p, basis: not f.dkim_ready, Defer("DKIM_UNAVAILABLE"))
