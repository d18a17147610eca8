"""Which version of which pack is in force when, and which packs a recipient falls under.

The shell reads the TOML texts from the disk; `load_packs` puts the versions of each pack in order and refuses what
cannot stand side by side. A pack is never guessed: a code without a pack is pack UNKNOWN, the strictest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import pairwise
from typing import Literal

from suppression.pack import OTHER_CODES, UNKNOWN, Pack, PackError, Packs, fault_of, read_pack
from suppression.strictness import compare

__all__ = [
    "EEA", "UNKNOWN", "CountrySource", "Pack", "PackBook", "PackError", "Packs", "baseline", "bound", "load_packs",
    "pack_name", "pack_of", "resolve",
]  # fmt: skip

CountrySource = Literal["declared", "billing", "default", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackBook:
    """All versions of all packs. `versions`: by code, oldest first; each ends where the next begins.

    Made by `load_packs`. Days are those of UTC.
    """

    versions: Mapping[str, tuple[Pack, ...]]
    _days: tuple[date, ...] = field(init=False, compare=False, repr=False)
    _packs: tuple[Packs, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        days = tuple(sorted({pack.in_force for packs in self.versions.values() for pack in packs[1:]}))
        eras = (date.min, *days)
        object.__setattr__(self, "_days", days)
        object.__setattr__(self, "_packs", tuple(self._of(day) for day in eras))

    def _of(self, day: date) -> Packs:
        return {code: _in_force(packs, day) for code, packs in self.versions.items()}

    def on(self, day: date) -> Packs:
        """The packs in force on a day: of each the newest that has entered into force, before the oldest the oldest.

        The same object for all days between two changes.
        """
        return self._packs[bisect_right(self._days, day)] if self._days else self._packs[0]

    def at(self, instant: datetime) -> Packs:
        """The packs in force at an instant, which is UTC."""
        return self._packs[bisect_right(self._days, instant.date())] if self._days else self._packs[0]

    def each(self, change: Callable[[Pack], Pack]) -> PackBook:
        """The book as one controller applies it: every version changed."""
        return PackBook(versions={code: tuple(map(change, packs)) for code, packs in self.versions.items()})

    def every(self) -> Iterable[Pack]:
        """All versions, by code and age."""
        return (pack for _, packs in sorted(self.versions.items()) for pack in packs)


def _in_force(packs: tuple[Pack, ...], day: date) -> Pack:
    return next((pack for pack in reversed(packs) if pack.in_force <= day), packs[0])


def load_packs(texts: Mapping[str, str], own: Mapping[str, str] | None = None) -> PackBook:
    """Read packs from TOML texts by file name: those that ship, and those an installation brings along.

    Raises PackError at the first thing wrong. One pack must be UNKNOWN. Versions of one pack have rising numbers, and
    each enters into force after the one before it. An own version of a pack that ships has a higher number than that;
    where it is laxer than what ships (a pack for a country that had none: than UNKNOWN), it gives a motivation.
    """
    shipped = [read_pack(file, text) for file, text in texts.items()]
    return bound((*shipped, *(read_pack(file, text, own=True) for file, text in (own or {}).items())))


def bound(packs: Iterable[Pack]) -> PackBook:
    """A book of packs that were read. Raises PackError, as `load_packs`."""
    by_code: dict[str, list[Pack]] = {}
    for pack in packs:
        by_code.setdefault(pack.code, []).append(pack)
    if UNKNOWN not in by_code:
        raise PackError("packs", "code", f"there is no pack {UNKNOWN}; add it, decisions need it")
    versions = {code: _in_order(of_code) for code, of_code in by_code.items()}
    for pack in (pack for of_code in versions.values() for pack in of_code if pack.own):
        _explained(pack, versions)
    return PackBook(versions=versions)


def _in_order(packs: list[Pack]) -> tuple[Pack, ...]:
    """The versions of one pack, each ending where the next begins. Raises PackError."""
    ordered = sorted(packs, key=lambda pack: (pack.version, pack.own))
    newest = max((pack.version for pack in packs if not pack.own), default=0)
    for pack in ordered:
        if pack.own and pack.version <= newest:
            what = f"{pack.version} is not above that of the {pack.code} that ships; write {newest + 1} or more"
            raise fault_of(pack, "version", what)
    for before, after in pairwise(ordered):
        if before.version == after.version:
            what = f"{pack_name(after)} is also in {before.file}; give the newer one {after.version + 1}"
            raise fault_of(after, "version", what)
        if after.in_force <= before.in_force:
            what = f"{after.in_force} is not after {before.in_force}, the day of {pack_name(before)} in {before.file}; "
            raise fault_of(after, "in_force", what + "a higher version enters into force later: correct the day")
    ends = (*(pack.in_force for pack in ordered[1:]), None)
    return tuple(replace(pack, until=end) for pack, end in zip(ordered, ends, strict=True))


def pack_name(pack: Pack) -> str:
    """A version as people say it."""
    return f"{pack.code} version {pack.version}"


def baseline(pack: Pack, versions: Mapping[str, tuple[Pack, ...]]) -> Pack:
    """What ships for the same country on the day a pack enters into force; UNKNOWN where nothing does."""
    for code in (pack.code, UNKNOWN):
        shipped = tuple(other for other in versions.get(code, ()) if not other.own)
        if shipped:
            return _in_force(shipped, pack.in_force)
    return versions[UNKNOWN][0]


def laxer_in(pack: Pack, versions: Mapping[str, tuple[Pack, ...]]) -> list[str]:
    """The fields in which a pack is laxer than its baseline."""
    return [difference.field for difference in compare(pack, baseline(pack, versions)) if difference.laxer]


def _explained(pack: Pack, versions: Mapping[str, tuple[Pack, ...]]) -> None:
    """An own pack that is laxer than what ships says why."""
    if pack.motivation:
        return
    laxer = laxer_in(pack, versions)
    if laxer:
        base = pack_name(baseline(pack, versions))
        what = f"is missing; the pack is laxer than {base} that ships in {', '.join(laxer)}: "
        raise PackError(
            pack.file, "motivation", what + "write why, or take the stricter value", pack.lines.get(laxer[0])
        )


#: States of the European Economic Area by ISO 3166 code. Territories with a code of their own are UNKNOWN.
EEA = frozenset((
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
    "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
))  # fmt: skip
_OWN_PACK = frozenset(("NL", "BE", "DE", "FR", "IE", "ES", "IT"))
#: Packs whose law is laxer than the one an EEA or UK controller is under anyway.
_OUTSIDE = frozenset(("US", "CA"))


def resolve(
    declared: str | None, billing: str | None, default_country: str | None, controller_country: str | None,
    known: Container[str] = _OWN_PACK,
) -> tuple[tuple[str, ...], CountrySource]:  # fmt: skip
    """The packs a recipient falls under, and which country said so. An empty tuple: not known, that is pack UNKNOWN.

    Countries are ISO 3166 two-letter codes, in any case; None or blank: not known. The caller passes `default_country`
    only when the controller gave a motivation for it. A country that is given but unreadable is not replaced by the
    next source: it is unknown. A controller in the EEA or the UK takes its own pack along to US and CA. `known`: codes
    that have a pack of their own, `PackBook.versions`.

    Source: RULES 2.2 (jurisdictions[]), GDPR art. 3(1).
    """
    sources: tuple[tuple[str | None, CountrySource], ...] = (
        (declared, "declared"), (billing, "billing"), (default_country, "default"),
    )  # fmt: skip
    for country, source in sources:
        if country is None or not country.strip():
            continue
        pack = pack_of(country, known)
        if pack is None:
            return (), "unknown"
        home = pack_of(controller_country, known) if controller_country else None
        if pack in _OUTSIDE and home is not None and (home in ("UK", "EU") or home in EEA):
            return (pack, home), source
        return (pack,), source
    return (), "unknown"


def pack_of(country: str, known: Container[str] = _OWN_PACK) -> str | None:
    """The pack code of a country: GB is UK, EEA states without a pack are EU, others their own. None: no country."""
    code = country.strip().upper()
    code = OTHER_CODES.get(code, code)
    if len(code) != 2 or not code.isascii() or not code.isalpha():
        return None
    return "EU" if code in EEA and code not in known else code
