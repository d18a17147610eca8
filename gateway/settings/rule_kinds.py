"""Kinds of setting values about rules: a controller's own periods, and what says which products a mail is about."""

from pathlib import Path
from typing import Any, Final

from gateway.mail.categories import BadPattern, link_pattern, subject_pattern
from gateway.settings.kinds import Bad, Kind
from suppression.pack import is_months
from suppression.sale import SALE_KINDS


def _months(value: Any, _dir: Path) -> int:
    if not is_months(value):
        raise Bad("must be a number of months from 0 to 1200", "Write digits without quotes")
    return int(value)


def _some_months(value: Any, directory: Path) -> int:
    if _months(value, directory) == 0:
        raise Bad("0 months would end every consent at once", "Write 1 or more, or stop the stream")
    return int(value)


def _months_by_kind(value: Any, directory: Path) -> dict[str, int]:
    if not isinstance(value, dict):
        raise Bad("must give months per kind of sale record", "Write it as { purchase = 12, inquiry = 0 }")
    for kind in value:
        if kind not in SALE_KINDS:
            raise Bad(f"there is no kind {kind!r}", f"Known: {', '.join(sorted(SALE_KINDS))}", kind)
    return {kind: _months(months, directory) for kind, months in value.items()}


def _patterns(value: Any, _dir: Path) -> tuple[str, ...]:
    return _each(value, link_pattern)


def _subjects(value: Any, _dir: Path) -> tuple[str, ...]:
    return _each(value, subject_pattern)


def _each(value: Any, read: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Bad("must be a list of texts", "Put each in quotes, all of them in square brackets")
    for item in value:
        try:
            read(item)
        except BadPattern as bad:
            raise Bad(f"{item!r} {bad.what}", bad.remedy) from None
    return tuple(value)


MONTHS: Final = Kind("months", _months)
SOME_MONTHS: Final = Kind("months", _some_months)
MONTHS_BY_KIND: Final = Kind("months per kind", _months_by_kind, {})
LINKS: Final = Kind("list of link patterns", _patterns, ())
SUBJECTS: Final = Kind("list of words", _subjects, ())
