"""One version of one jurisdiction pack: section 3 of the rules as a value, read from a TOML text.

`read_pack` refuses a text with a field missing, unknown or of a wrong kind, and names file, line, field and remedy.
Which version is in force when is in jurisdiction.py; what a controller may change in terms.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal

from suppression.sale import SALE_KINDS
from suppression.toml_lines import error_line, lines_of, parsed

Model = Literal["consent", "casl", "optout"]
TimeRule = Literal["stale", "rolling"]
AdLabel = Literal["always", "unless_consent", "never"]
B2b = Literal["none", "published", "role_legal", "professional", "business_activity", "corporate"]

#: The pack for no jurisdiction or one that has no pack (RULES 2.1.11).
UNKNOWN = "UNKNOWN"

#: The code of the pack, where a country is known by two: GB is ISO 3166's, EL the institutions' of the Union.
OTHER_CODES = {"GB": "UK", "EL": "GR"}

_MODELS = frozenset(("consent", "casl", "optout"))
_TIME_RULES = frozenset(("stale", "rolling"))
_AD_LABELS = frozenset(("always", "unless_consent", "never"))
_B2B = frozenset(("none", "published", "role_legal", "professional", "business_activity", "corporate"))

#: The grounds a pack may name a provision for, and where a provision is needed.
GROUNDS = frozenset(("consent", "no_basis", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime"))

#: The fields that say what the law is; each may be marked as `statutory`. In the order they are read to a lawyer.
PARAMETERS: tuple[str, ...] = (
    "model", "consent_max_months_since_interaction", "age_of_digital_consent", "soft_opt_in", "soft_opt_in_contexts",
    "soft_opt_in_max_months", "soft_opt_in_time_rule", "charity_contexts", "charity_collected_on_or_after",
    "free_account_counts_as_sale", "pre_ticked_box_is_opt_out", "implied_consent_months", "b2b_exemption",
    "postal_address_required", "ad_label", "exclusion_register_check",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The parameters of one jurisdiction. Months are calendar months (RULES 2.1.6); None: no such limit.

    `in_force` is the day (UTC) from which this version applies, `until` the day from which the next one does (None: it
    is the newest). `cite` maps a ground to its provision. `statutory` names the parameters that the law itself sets:
    no controller may loosen them; every other one is a product default (comply or explain, RULES 7.1.1). `own`: the
    installation brought it along; `motivation`: why it is laxer than what ships. `file` and `lines` are where it was
    read, for messages.
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
    pre_ticked_box_is_opt_out: bool = True
    statutory: frozenset[str] = frozenset()
    motivation: str = ""
    own: bool = False
    until: date | None = None
    file: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def label(self) -> str:
        """Code and version, as a decision keeps them."""
        return f"{self.code}@{self.version}"


Packs = Mapping[str, Pack]
"""The packs in force on one day, by code."""


class PackError(ValueError):
    """A pack cannot be used. Names the file, the line where known, the field and what to do."""

    def __init__(self, file: str, field: str, what: str, line: int | None = None) -> None:
        super().__init__(f"{file}{f':{line}' if line else ''}: {field}: {what}")
        self.file = file
        self.field = field
        self.what = what
        self.line = line


def fault_of(pack: Pack, name: str, what: str) -> PackError:
    """The error about one field of a pack that was read, with its line."""
    return PackError(pack.file, name, what, pack.lines.get(name))


def is_months(value: Any) -> bool:
    """Whether a value is a number of months a pack may hold."""
    return type(value) is int and 0 <= value <= 1200


def _kinds(value: Any) -> bool:
    return type(value) is list and all(type(kind) is str and kind in SALE_KINDS for kind in value)


def _texts(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(text) is str and text for text in value)


def _months_by_kind(value: Any) -> bool:
    return type(value) is dict and bool(value) and all(k in SALE_KINDS and is_months(v) for k, v in value.items())


def _provisions(value: Any) -> bool:
    return type(value) is dict and value.keys() <= GROUNDS and all(type(v) is str and v for v in value.values())


def _parameters(value: Any) -> bool:
    return type(value) is list and all(type(name) is str and name in PARAMETERS for name in value)


def _among(values: frozenset[str]) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(sorted(values)), lambda v: type(v) is str and v in values


_FLAG = ("true or false", lambda v: type(v) is bool)
_MONTHS = ("a number of months from 0 to 1200", is_months)
_KINDS = ("a list of kinds of sale record", _kinds)
_TEXT = ("a text", lambda v: type(v) is str and bool(v.strip()))

#: Field -> (what it must be, test). The first table is needed in every pack, the second only where the law knows it.
_NEEDED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "code": _TEXT,
    "name": _TEXT,
    "version": ("a whole number of 1 or more", lambda v: type(v) is int and v >= 1),
    "in_force": ("a date such as 2018-05-25", lambda v: type(v) is date),
    "citations": ("a list of texts", _texts),
    "confidence": _TEXT,
    "statutory": (
        "a list of fields of the pack that the law itself sets; known: " + ", ".join(PARAMETERS),
        _parameters,
    ),
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
    "pre_ticked_box_is_opt_out": _FLAG,
    "motivation": _TEXT,
}


def read_pack(file: str, text: str, *, own: bool = False) -> Pack:
    """Read one version of a pack. Raises PackError at the first thing wrong."""
    try:
        data = parsed(text)
    except tomllib.TOMLDecodeError as error:
        raise PackError(file, "TOML", f"cannot be read, {error}; correct the line", error_line(error)) from error
    lines = lines_of(text)

    def fault(name: str, what: str) -> PackError:
        return PackError(file, name, what, lines.get(name) or lines.get(name.partition(".")[0]))

    for name, value in data.items():
        wanted, good = _NEEDED.get(name) or _OPTIONAL.get(name) or (None, None)
        if wanted is None or good is None:
            raise fault(name, "is not a field of a pack; remove it or correct its name")
        if not good(value):
            raise fault(name, f"must be {wanted}")
    for name, (wanted, _) in _NEEDED.items():
        if name not in data:
            raise fault(name, f"is missing; give {wanted}")
    if data["code"] != UNKNOWN and not (len(data["code"]) == 2 and data["code"].isascii() and data["code"].isupper()):
        raise fault("code", f"must be two capital letters or {UNKNOWN}")
    if data["code"] in OTHER_CODES:  # no country resolves to it: it would never apply
        code = OTHER_CODES[data["code"]]
        raise fault("code", f"{data['code']} has the pack {code}; write {code}")
    for name, because in _incomplete(data):
        raise fault(name, f"is missing; give it, since {because}")
    values: dict[str, Any] = {name: data.get(name) for name in (*_NEEDED, *_OPTIONAL)}
    return Pack(
        **values
        | {
            "citations": tuple(data["citations"]),
            "soft_opt_in_contexts": frozenset(data["soft_opt_in_contexts"]),
            "charity_contexts": frozenset(data["charity_contexts"]),
            "implied_consent_months": data.get("implied_consent_months", {}),
            "pre_ticked_box_is_opt_out": data.get("pre_ticked_box_is_opt_out", True),
            "statutory": frozenset(data["statutory"]),
            "motivation": data.get("motivation", "").strip(),
        },
        own=own,
        file=file,
        lines=lines,
    )


def _incomplete(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fields that what is said elsewhere in the pack asks for, and why."""
    rows: tuple[tuple[str, Any, Any, str], ...] = (
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
    )
    return [
        (name if given is data else f"cite.{name}", because)
        for name, given, needed, because in rows
        if needed and name not in given
    ]
