"""Jurisdiction packs, section 3 of the rules as values, and which packs a recipient falls under.

The shell reads the TOML texts from the disk; `load_packs` refuses one with a field missing, unknown or of a wrong kind.
A pack is never guessed: a code without a pack is pack UNKNOWN, the strictest.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from suppression.sale import SALE_KINDS

Model = Literal["consent", "casl", "optout"]
TimeRule = Literal["stale", "rolling"]
AdLabel = Literal["always", "unless_consent", "never"]
B2b = Literal["none", "published", "role_legal", "professional", "business_activity", "corporate"]
CountrySource = Literal["declared", "billing", "default", "unknown"]

#: The pack for no jurisdiction or one that has no pack (RULES 2.1.11).
UNKNOWN = "UNKNOWN"

_MODELS = frozenset(("consent", "casl", "optout"))
_TIME_RULES = frozenset(("stale", "rolling"))
_AD_LABELS = frozenset(("always", "unless_consent", "never"))
_B2B = frozenset(("none", "published", "role_legal", "professional", "business_activity", "corporate"))

#: The grounds a pack may name a provision for, and where a provision is needed.
GROUNDS = frozenset(("consent", "no_basis", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The parameters of one jurisdiction. Months are calendar months (RULES 2.1.6); None: no such limit.

    `in_force` is the day from which the newest provision used here applies; `cite` maps a ground to its provision.
    """

    code: str
    name: str
    version: int
    in_force: date
    citations: tuple[str, ...]
    confidence: str
    model: Model
    soft_opt_in: bool
    soft_opt_in_contexts: frozenset[str]
    charity_contexts: frozenset[str]
    charity_collected_on_or_after: datetime | None
    free_account_counts_as_sale: bool
    soft_opt_in_max_months: int | None
    soft_opt_in_time_rule: TimeRule | None
    consent_max_months_since_interaction: int | None
    age_of_digital_consent: int
    b2b_exemption: B2b
    postal_address_required: bool
    ad_label: AdLabel
    exclusion_register_check: bool
    implied_consent_months: Mapping[str, int]
    cite: Mapping[str, str]


Packs = Mapping[str, Pack]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strictness:
    """Where a controller is stricter than the law; it can never be laxer.

    `require_opt_in` closes every ground but consent (D4-D7). Months shorten a limit; None leaves the pack's.
    """

    require_opt_in: bool = False
    soft_months: int | None = None
    consent_months: int | None = None


class PackError(ValueError):
    """A pack text cannot be used. Names the file, the field and what to do."""

    def __init__(self, file: str, field: str, what: str) -> None:
        super().__init__(f"{file}: {field}: {what}")
        self.file = file
        self.field = field
        self.what = what


def _months(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 1200


def _kinds(value: Any) -> bool:
    return type(value) is list and all(type(kind) is str and kind in SALE_KINDS for kind in value)


def _texts(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(text) is str and text for text in value)


def _months_by_kind(value: Any) -> bool:
    return type(value) is dict and bool(value) and all(k in SALE_KINDS and _months(v) for k, v in value.items())


def _provisions(value: Any) -> bool:
    return type(value) is dict and value.keys() <= GROUNDS and all(type(v) is str and v for v in value.values())


def _among(values: frozenset[str]) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(sorted(values)), lambda v: type(v) is str and v in values


_FLAG = ("true or false", lambda v: type(v) is bool)
_MONTHS = ("a number of months from 0 to 1200", _months)
_KINDS = ("a list of kinds of sale record", _kinds)
_TEXT = ("a text", lambda v: type(v) is str and bool(v))

#: Field -> (what it must be, test). The first table is needed in every pack, the second only where the law knows it.
_NEEDED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "code": _TEXT,
    "name": _TEXT,
    "version": ("a whole number of 1 or more", lambda v: type(v) is int and v >= 1),
    "in_force": ("a date such as 2018-05-25", lambda v: type(v) is date),
    "citations": ("a list of texts", _texts),
    "confidence": _TEXT,
    "model": _among(_MODELS),
    "soft_opt_in": _FLAG,
    "soft_opt_in_contexts": _KINDS,
    "charity_contexts": _KINDS,
    "free_account_counts_as_sale": _FLAG,
    "age_of_digital_consent": ("an age from 13 to 18", lambda v: type(v) is int and 13 <= v <= 18),
    "b2b_exemption": _among(_B2B),
    "postal_address_required": _FLAG,
    "ad_label": _among(_AD_LABELS),
    "exclusion_register_check": _FLAG,
    "cite": ("a table from ground to provision; grounds are " + ", ".join(sorted(GROUNDS)), _provisions),
}
_OPTIONAL: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "charity_collected_on_or_after": (
        "an instant in UTC such as 2026-02-05T00:00:00Z",
        lambda v: type(v) is datetime and v.utcoffset() == timedelta(0),
    ),
    "soft_opt_in_max_months": _MONTHS,
    "soft_opt_in_time_rule": _among(_TIME_RULES),
    "consent_max_months_since_interaction": _MONTHS,
    "implied_consent_months": ("a table from kind of sale record to months", _months_by_kind),
}


def load_packs(texts: Mapping[str, str]) -> Packs:
    """Read packs from TOML texts by file name. Raises PackError at the first thing wrong; one must be UNKNOWN."""
    packs: dict[str, Pack] = {}
    for file, text in texts.items():
        pack = _load(file, text)
        if pack.code in packs:
            raise PackError(file, "code", f"there are two packs {pack.code}; keep one")
        packs[pack.code] = pack
    if UNKNOWN not in packs:
        raise PackError("packs", "code", f"there is no pack {UNKNOWN}; add it, decisions need it")
    return packs


def _load(file: str, text: str) -> Pack:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PackError(file, "TOML", f"cannot be read, {error}; correct the line") from error
    for field, value in data.items():
        wanted, good = _NEEDED.get(field) or _OPTIONAL.get(field) or (None, None)
        if wanted is None or good is None:
            raise PackError(file, field, "is not a field of a pack; remove it or correct its name")
        if not good(value):
            raise PackError(file, field, f"must be {wanted}")
    for field, (wanted, _) in _NEEDED.items():
        if field not in data:
            raise PackError(file, field, f"is missing; give {wanted}")
    if data["code"] != UNKNOWN and not (len(data["code"]) == 2 and data["code"].isascii() and data["code"].isupper()):
        raise PackError(file, "code", f"must be two capital letters or {UNKNOWN}")
    for field, given, needed, because in (
        ("soft_opt_in_max_months", data, data["soft_opt_in"], "soft_opt_in is true"),
        ("soft_opt_in_time_rule", data, data["soft_opt_in"], "soft_opt_in is true"),
        ("implied_consent_months", data, data["model"] == "casl", 'model is "casl"'),
        ("consent", data["cite"], True, "every pack allows on consent"),
        ("no_basis", data["cite"], True, "every pack blocks without a ground"),
        ("soft_opt_in", data["cite"], data["soft_opt_in"], "soft_opt_in is true"),
        ("charity", data["cite"], data["charity_contexts"], "charity_contexts has entries"),
        ("b2b", data["cite"], data["b2b_exemption"] != "none", 'b2b_exemption is not "none"'),
        ("implied", data["cite"], data["model"] == "casl", 'model is "casl"'),
        ("opt_out_regime", data["cite"], data["model"] == "optout", 'model is "optout"'),
    ):
        if needed and field not in given:
            where = field if given is data else f"cite.{field}"
            raise PackError(file, where, f"is missing; give it, since {because}")
    values: dict[str, Any] = {field: data.get(field) for field in (*_NEEDED, *_OPTIONAL)}
    return Pack(
        **values
        | {
            "citations": tuple(data["citations"]),
            "soft_opt_in_contexts": frozenset(data["soft_opt_in_contexts"]),
            "charity_contexts": frozenset(data["charity_contexts"]),
            "implied_consent_months": data.get("implied_consent_months", {}),
        }
    )


def stricter(pack: Pack, strictness: Strictness) -> Pack:
    """The pack as a stricter controller applies it. A longer limit than the pack's changes nothing (RULES Q21)."""
    if strictness.require_opt_in:
        pack = replace(pack, model="consent", soft_opt_in=False, b2b_exemption="none", implied_consent_months={})
    if (soft := strictness.soft_months) is not None:
        pack = replace(
            pack,
            soft_opt_in_max_months=_shorter(pack.soft_opt_in_max_months, soft),
            implied_consent_months={kind: min(months, soft) for kind, months in pack.implied_consent_months.items()},
        )
    if (consent := strictness.consent_months) is not None:
        limit = _shorter(pack.consent_max_months_since_interaction, consent)
        pack = replace(pack, consent_max_months_since_interaction=limit)
    return pack


def _shorter(limit: int | None, other: int) -> int:
    return other if limit is None else min(limit, other)


#: States of the European Economic Area by ISO 3166 code. Territories with a code of their own are UNKNOWN.
EEA = frozenset((
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
    "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
))  # fmt: skip
_OWN_PACK = frozenset(("NL", "BE", "DE", "FR", "IE", "ES", "IT"))
#: Codes in use beside ISO 3166.
_ALIAS = {"GB": "UK", "EL": "GR"}
#: Packs whose law is laxer than the one an EEA or UK controller is under anyway.
_OUTSIDE = frozenset(("US", "CA"))


def resolve(
    declared: str | None, billing: str | None, default_country: str | None, controller_country: str | None
) -> tuple[tuple[str, ...], CountrySource]:
    """The packs a recipient falls under, and which country said so. An empty tuple: not known, that is pack UNKNOWN.

    Countries are ISO 3166 two-letter codes, in any case; None or blank: not known. The caller passes `default_country`
    only when the controller gave a motivation for it. A country that is given but unreadable is not replaced by the
    next source: it is unknown. A controller in the EEA or the UK takes its own pack along to US and CA.

    Source: RULES 2.2 (jurisdictions[]), GDPR art. 3(1).
    """
    sources: tuple[tuple[str | None, CountrySource], ...] = (
        (declared, "declared"), (billing, "billing"), (default_country, "default"),
    )  # fmt: skip
    for country, source in sources:
        if country is None or not country.strip():
            continue
        pack = pack_of(country)
        if pack is None:
            return (), "unknown"
        home = pack_of(controller_country) if controller_country else None
        if pack in _OUTSIDE and home is not None and (home == "UK" or home == "EU" or home in _OWN_PACK):
            return (pack, home), source
        return (pack,), source
    return (), "unknown"


def pack_of(country: str) -> str | None:
    """The pack code of a country: GB is UK, EEA states without a pack are EU, others their own. None: no country."""
    code = country.strip().upper()
    code = _ALIAS.get(code, code)
    if len(code) != 2 or not code.isascii() or not code.isalpha():
        return None
    return "EU" if code in EEA and code not in _OWN_PACK else code
