"""Whether one version of a pack is laxer than another, parameter by parameter.

A parameter is laxer when under it somebody could be mailed who could not be before. Where two values cannot be put in
order, the new one counts as laxer: a person has to say why (RULES 7.1.1, comply or explain).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from suppression.pack import PARAMETERS, Pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One parameter that differs. `before` and `after` as they stand in a pack; None: no such limit."""

    field: str
    before: Any
    after: Any
    laxer: bool


#: Business rules (D5) that nobody passes who does not pass the others as well.
_B2B_WITHIN: Mapping[str, frozenset[str]] = {
    "role_legal": frozenset(("professional", "business_activity", "corporate")),
    "published": frozenset(("business_activity",)),
}
_AD_LABELS = ("always", "unless_consent", "never")

#: What the parameters about existing customers say is idle in a pack that does not know the exception.
_OF_CUSTOMERS = frozenset((
    "soft_opt_in_contexts", "soft_opt_in_max_months", "soft_opt_in_time_rule", "charity_contexts",
    "charity_collected_on_or_after", "free_account_counts_as_sale", "pre_ticked_box_is_opt_out",
))  # fmt: skip


def compare(new: Pack, old: Pack) -> tuple[Difference, ...]:
    """What the new version says differently, in the order of the parameters, and whether it is laxer there.

    Marks of what is statutory come last: a mark that is gone opens a parameter to controllers, so it is laxer.
    """
    found = []
    for name in PARAMETERS:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            found.append(Difference(field=name, before=before, after=after, laxer=_laxer(name, new, old)))
    if new.statutory != old.statutory:
        gone = old.statutory - new.statutory
        found.append(Difference(field="statutory", before=old.statutory, after=new.statutory, laxer=bool(gone)))
    return tuple(found)


def _laxer(name: str, new: Pack, old: Pack) -> bool:
    if name in _OF_CUSTOMERS and not new.soft_opt_in:
        return False
    if name == "implied_consent_months" and new.model != "casl":
        return False
    if name in _OF_CUSTOMERS and not old.soft_opt_in:
        return False  # the exception itself is new, and that is counted as laxer
    if name == "charity_contexts" and (old.charity_contexts - new.charity_contexts) & new.soft_opt_in_contexts:
        return True  # what was a gift only, with its own conditions, is then a sale like any other
    return _LAXER[name](getattr(new, name), getattr(old, name))


def longer(new: int | None, old: int | None) -> bool:
    """Whether a limit in months lets more through than another; None is no limit."""
    return old is not None and (new is None or new > old)


def _earlier(new: datetime | None, old: datetime | None) -> bool:
    return old is not None and (new is None or new < old)


def _more_kinds(new: frozenset[str], old: frozenset[str]) -> bool:
    return not new <= old


def _longer_for_a_kind(new: Mapping[str, int], old: Mapping[str, int]) -> bool:
    return any(kind not in old or months > old[kind] for kind, months in new.items())


def _turned_on(new: bool, old: bool) -> bool:
    return new and not old


def _turned_off(new: bool, old: bool) -> bool:
    return old and not new


_LAXER: Mapping[str, Callable[[Any, Any], bool]] = {
    "model": lambda new, old: new != "consent",
    "consent_max_months_since_interaction": longer,
    "age_of_digital_consent": lambda new, old: new < old,
    "soft_opt_in": _turned_on,
    "soft_opt_in_contexts": _more_kinds,
    "soft_opt_in_max_months": longer,
    "soft_opt_in_time_rule": lambda new, old: new != old,
    "charity_contexts": _more_kinds,
    "charity_collected_on_or_after": _earlier,
    "free_account_counts_as_sale": _turned_on,
    "pre_ticked_box_is_opt_out": _turned_on,
    "implied_consent_months": _longer_for_a_kind,
    "b2b_exemption": lambda new, old: new != "none" and old not in _B2B_WITHIN.get(new, ()),
    "postal_address_required": _turned_off,
    "ad_label": lambda new, old: _AD_LABELS.index(new) > _AD_LABELS.index(old),
    "exclusion_register_check": _turned_off,
}


def in_words(value: Any) -> str:
    """A value as it stands in a pack's text; a limit that is not there is a dash."""
    if value is None or value in (frozenset(), {}):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{kind} {months}" for kind, months in sorted(value.items()))
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)
