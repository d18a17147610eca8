"""What one controller changed about a pack: stricter as it likes, laxer only with a written motivation.

Periods that the law itself sets are never made longer. `objections` says what of a controller's wishes is refused and
`applied` gives the pack as that controller is held to it; it never follows a wish that would be refused, so that a
pack which changes later cannot make a controller laxer than allowed.

Source: RULES 7.1.1 (comply or explain), Q1, Q15, Q21.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from suppression.pack import Pack
from suppression.strictness import longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A controller's wishes about one pack, or about all. None: as the pack has it.

    `require_opt_in` closes every ground but consent (D4-D7). `soft_opt_in_max_months` 0: who was a customer once is
    not mailed, only whose contract runs. `free_account_counts_as_sale`: Q1. `pre_ticked_box_is_opt_out` False: Q15.
    `motivation`: per field, why.
    """

    require_opt_in: bool = False
    soft_opt_in_max_months: int | None = None
    consent_max_months_since_interaction: int | None = None
    implied_consent_months: Mapping[str, int] = field(default_factory=dict)
    free_account_counts_as_sale: bool | None = None
    pre_ticked_box_is_opt_out: bool | None = None
    motivation: Mapping[str, str] = field(default_factory=dict)


AS_IT_IS = Terms()
"""No wishes."""


ALL: Final = "ALL"
"""Stands for every pack where a controller names the packs it changes."""


class Objection(NamedTuple):
    """Why a wish is refused, and what to do."""

    field: str
    what: str
    remedy: str


#: The periods a controller may set, and what a pack must know for one to mean anything.
PERIODS = ("soft_opt_in_max_months", "consent_max_months_since_interaction")


def applied(pack: Pack, terms: Terms, common: Terms = AS_IT_IS) -> Pack:
    """The pack as a controller is held to it: by its terms for this pack, and by those for all, which only shorten."""
    motivated = terms.motivation.keys() | common.motivation.keys()
    for name in PERIODS:
        months, wish, cap = getattr(pack, name), getattr(terms, name), getattr(common, name)
        if name == "soft_opt_in_max_months" and not pack.soft_opt_in:
            continue
        if wish is not None and (longer(months, wish) or (name in terms.motivation and name not in pack.statutory)):
            months = wish
        if cap is not None and longer(months, cap):
            months = cap
        pack = replace(pack, **{name: months})
    pack = replace(pack, implied_consent_months=_implied(pack, terms, common))
    if (terms.free_account_counts_as_sale or common.free_account_counts_as_sale) and (
        "free_account_counts_as_sale" in motivated and "free_account_counts_as_sale" not in pack.statutory
    ):
        pack = replace(pack, free_account_counts_as_sale=True)
    if terms.free_account_counts_as_sale is False:
        pack = replace(pack, free_account_counts_as_sale=False)
    if False in (terms.pre_ticked_box_is_opt_out, common.pre_ticked_box_is_opt_out):
        pack = replace(pack, pre_ticked_box_is_opt_out=False)
    if terms.require_opt_in or common.require_opt_in:
        pack = replace(pack, model="consent", soft_opt_in=False, b2b_exemption="none", implied_consent_months={})
    return pack


def _implied(pack: Pack, terms: Terms, common: Terms) -> Mapping[str, int]:
    """Implied consent per kind (D6): statutory, so that it is only shortened; 0 months close a kind."""
    cap = common.soft_opt_in_max_months
    return {
        kind: min(months, terms.implied_consent_months.get(kind, months), months if cap is None else cap)
        for kind, months in pack.implied_consent_months.items()
    }


def objections(pack: Pack, terms: Terms) -> Iterator[Objection]:
    """What of the terms for one pack is refused under this version of it."""
    where = f"in {pack.label} ({pack.name})"
    if terms.soft_opt_in_max_months is not None and not pack.soft_opt_in:
        yield Objection(
            "soft_opt_in_max_months", f"has no meaning {where}, which has no customer exception", "Remove it"
        )
    for name in PERIODS:
        months, wish = getattr(pack, name), getattr(terms, name)
        if name == "soft_opt_in_max_months" and not pack.soft_opt_in:
            continue
        if wish is not None and longer(wish, months):
            yield from _about_longer(pack, name, wish, months, terms, where)
    for kind, wish in terms.implied_consent_months.items():
        limit = pack.implied_consent_months.get(kind)
        if limit is None:
            known = ", ".join(pack.implied_consent_months) or "none"
            remedy = f"Remove it; kinds known there: {known}"
            yield Objection("implied_consent_months", f"{kind} carries no implied consent {where}", remedy)
        elif wish > limit:
            what = f"{wish} months for {kind} are longer than the {limit} of the law {where}"
            yield Objection("implied_consent_months", what, f"Write {limit} or less")
    if terms.free_account_counts_as_sale:
        yield from _about_free_accounts(pack, terms, where)
    if terms.pre_ticked_box_is_opt_out and not pack.pre_ticked_box_is_opt_out:
        yield Objection("pre_ticked_box_is_opt_out", f"is laxer than the rule {where}", "Remove it")


def _about_longer(
    pack: Pack, name: str, wish: int, months: int | None, terms: Terms, where: str
) -> Iterator[Objection]:
    if name in pack.statutory:
        what = f"{wish} months are longer than the {months} that the law sets {where}"
        yield Objection(name, what, f"Write {months} or less; no motivation helps where the period is statutory")
    elif name not in terms.motivation:
        what = f"{wish} months are longer than the {months} that are the default {where}, without a motivation"
        yield Objection(name, what, f"Write why in motivation.{name}, or {months} or less")


def _about_free_accounts(pack: Pack, terms: Terms, where: str) -> Iterator[Objection]:
    name = "free_account_counts_as_sale"
    if not pack.soft_opt_in:
        yield Objection(name, f"has no meaning {where}, which has no customer exception", "Remove it")
    elif name in pack.statutory and not pack.free_account_counts_as_sale:
        yield Objection(name, f"is against the law {where}", "Remove it")
    elif name not in terms.motivation and not pack.free_account_counts_as_sale:
        yield Objection(
            name, f"is laxer than the default {where}, without a motivation", f"Write why in motivation.{name}"
        )


def changes(pack: Pack, held: Pack) -> tuple[str, ...]:
    """The names of the parameters in which a controller is held to something else than the pack says."""
    names = (*PERIODS, "implied_consent_months", "free_account_counts_as_sale", "pre_ticked_box_is_opt_out", "model",
             "soft_opt_in", "b2b_exemption")  # fmt: skip
    return tuple(name for name in names if getattr(pack, name) != getattr(held, name))
