"""A jurisdiction pack as people read it: each parameter in words, who sets it, and what one sender changed and why.

The same lines for the staff page and for `consentgate rules show`, in four languages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from babel import Locale

from gateway.config import Controller
from gateway.words import Language, Words
from suppression.pack import PARAMETERS, Pack
from suppression.terms import ALL, AS_IT_IS, applied

_UTC = ZoneInfo("UTC")
_TERRITORY: Mapping[str, str] = {"UK": "GB"}
_KINDS = frozenset(("soft_opt_in_contexts", "charity_contexts"))
_MONTHS = frozenset(("soft_opt_in_max_months", "consent_max_months_since_interaction"))
_WORDED = frozenset(("model", "b2b_exemption", "ad_label", "soft_opt_in_time_rule"))
_CLOSED = frozenset(("model", "soft_opt_in", "b2b_exemption", "implied_consent_months"))
"""What a sender closes that mails on consent only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One parameter: `given` as the pack has it, `held` as a sender is held to it.

    `yours`: the latter in words, None where it is the same; `why`: its motivation, or nothing.
    """

    field: str
    label: str
    value: str
    statutory: bool
    given: object
    held: object
    yours: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One version of a pack. `only_consent`: why the sender mails on consent only, None where it does not.

    `marks`: what the confidence marks mean that stand there.
    """

    pack: Pack
    place: str
    lines: tuple[Line, ...]
    marks: tuple[str, ...]
    only_consent: str | None = None

    @property
    def deviates(self) -> bool:
        """Whether the sender is held to anything else than the pack says."""
        return self.only_consent is not None or any(line.yours is not None for line in self.lines)


def sheet(words: Words, language: Language, pack: Pack, controller: Controller | None = None) -> Sheet:
    """One version of a pack in words, and how a sender is held to it."""
    own = common = AS_IT_IS
    if controller is not None:
        own, common = controller.terms.get(pack.code, AS_IT_IS), controller.terms.get(ALL, AS_IT_IS)
    held = applied(pack, own, common)
    strict = own.require_opt_in or common.require_opt_in
    motivation = {**common.motivation, **own.motivation}
    lines = []
    for name in PARAMETERS:
        if _idle(name, pack):
            continue
        mine = getattr(held, name)
        differs = mine != getattr(pack, name) and not (strict and name in _CLOSED)
        lines.append(Line(
            field=name, label=words.text(language, f"pack.parameter.{name}"),
            value=_in_words(words, language, name, getattr(pack, name)), statutory=name in pack.statutory,
            given=getattr(pack, name), held=mine,
            yours=_in_words(words, language, name, mine) if differs else None,
            why=motivation.get(name, "") if differs else "",
        ))  # fmt: skip
    return Sheet(
        pack=pack, place=place(words, language, pack), lines=tuple(lines), marks=_marks(words, language, pack),
        only_consent=motivation.get("require_opt_in", "") if strict else None,
    )  # fmt: skip


def place(words: Words, language: Language, pack: Pack) -> str:
    """What the pack is for: the country's name in the reader's language."""
    if pack.code in ("EU", "UNKNOWN"):
        return words.text(language, f"pack.place.{pack.code}")
    name = Locale.parse(language).territories.get(_TERRITORY.get(pack.code, pack.code))
    return name or pack.name


def day(words: Words, language: Language, on: date) -> str:
    """A day as people write it."""
    return words.day(language, datetime.combine(on, time(), UTC), _UTC)


def _idle(name: str, pack: Pack) -> bool:
    """Whether a parameter says nothing in this pack."""
    if name == "implied_consent_months":
        return pack.model != "casl"
    if name == "charity_collected_on_or_after":
        return pack.charity_collected_on_or_after is None
    if name == "charity_contexts":
        return not pack.charity_contexts
    of_customers = name.startswith("soft_opt_in_") or name in (
        "free_account_counts_as_sale",
        "pre_ticked_box_is_opt_out",
    )
    return of_customers and not pack.soft_opt_in


def _in_words(words: Words, language: Language, name: str, value: object) -> str:
    def say(key: str) -> str:
        return words.text(language, key)

    if name in _MONTHS:
        return _months(words, language, value)
    if name in _WORDED:
        return say(f"pack.value.{name}.{value}")
    if name in _KINDS and isinstance(value, frozenset):
        return ", ".join(say(f"pack.kind.{kind}") for kind in sorted(value)) or say("pack.no_kinds")
    if isinstance(value, Mapping):
        kinds = [f"{say(f'pack.kind.{kind}')}: {_months(words, language, months)}" for kind, months in value.items()]
        return "; ".join(kinds) or say("pack.no_kinds")
    if isinstance(value, datetime):
        return words.day(language, value, _UTC)
    return say("pack.yes" if value else "pack.no") if isinstance(value, bool) else str(value)


def _months(words: Words, language: Language, value: object) -> str:
    if not isinstance(value, int):
        return words.text(language, "pack.no_limit")
    return words.count(language, "pack.months", value) if value else words.text(language, "pack.zero_months")


def _marks(words: Words, language: Language, pack: Pack) -> tuple[str, ...]:
    found = [words.text(language, f"pack.mark.{mark}") for mark in ("V", "S", "K") if f"[{mark}]" in pack.confidence]
    if "default" in pack.confidence:
        found.append(words.text(language, "pack.mark.default"))
    return tuple(found)
