"""The packs of an installation, and what its controllers changed about them: read and checked with the settings.

A pack that cannot be used and a wish that is refused are problems like any other: file, line, key and remedy.
"""

from collections.abc import Mapping
from typing import Any

from gateway.packs import read_packs
from gateway.settings.reader import Problem, Reader
from gateway.settings.table import TERMS
from suppression.jurisdiction import PackBook
from suppression.pack import OTHER_CODES, PackError
from suppression.terms import ALL, Terms, objections

Values = Mapping[str, Any]


def packs_of(reader: Reader, v: Values) -> PackBook:
    """The packs; where those of the installation cannot be used, that is noted and those that ship are given."""
    if v["packs"] is not None:
        try:
            return read_packs(v["packs"])
        except PackError as error:
            what, _, remedy = error.what.partition("; ")
            remedy = remedy[:1].upper() + remedy[1:]
            reader.problems.append(
                Problem(file=error.file, key=error.field, line=error.line, what=what, remedy=remedy or "Correct it")
            )
    return read_packs()


def terms_of(controller: Values) -> dict[str, Terms]:
    """A controller's wishes by pack, ALL among them."""
    terms = {code: Terms(**wishes) for code, wishes in controller["packs"].items()}
    if controller["require_opt_in"]:
        common = controller["packs"].get(ALL, {})
        terms[ALL] = Terms(**{**common, "require_opt_in": True})
    return terms


def check_terms(reader: Reader, v: Values, book: PackBook) -> None:
    """Note every wish that is refused, or that has no effect."""
    for name, controller in v["controllers"].items():
        for code, terms in terms_of(controller).items():
            key = f"controllers.{name}.packs.{code}"
            if code == ALL:
                _check_common(reader, key, terms, book)
            elif code not in book.versions:
                known = ", ".join(sorted(book.versions))
                remedy = f"Known: {known}; a new one goes into the folder `packs`"
                if code in OTHER_CODES:
                    remedy = f"Write {OTHER_CODES[code]}"
                reader.problem(key, f"there is no pack {code}", remedy)
            else:
                _check_one(reader, key, terms, book, code)


def _check_one(reader: Reader, key: str, terms: Terms, book: PackBook, code: str) -> None:
    told: set[str] = set()
    for pack in book.versions[code]:
        for objection in objections(pack, terms):
            if objection.field not in told:
                told.add(objection.field)
                reader.problem(f"{key}.{objection.field}", objection.what, objection.remedy)


def _check_common(reader: Reader, key: str, terms: Terms, book: PackBook) -> None:
    """Under ALL periods only shorten: one that is longer than each pack's would be without effect."""
    for field in ("soft_opt_in_max_months", "consent_max_months_since_interaction"):
        wish = getattr(terms, field)
        limits = [limit for pack in book.every() if (limit := getattr(pack, field)) is not None]
        if wish is not None and wish > max(limits):
            what = f"{wish} months are longer than those of every pack, so nothing would change"
            reader.problem(f"{key}.{field}", what, "Write fewer; longer ones are set per pack, with a motivation")
    if terms.implied_consent_months:
        what = "is not one period for all packs"
        reader.problem(f"{key}.implied_consent_months", what, "Set it for the pack that has it, as packs.CA")
    field = "free_account_counts_as_sale"
    if terms.free_account_counts_as_sale and field not in terms.motivation:
        remedy = f"Write why in motivation.{field}"
        reader.problem(f"{key}.{field}", "is laxer than the default of the packs, without a motivation", remedy)


assert set(TERMS) == set(Terms.__dataclass_fields__) - {"motivation"}
