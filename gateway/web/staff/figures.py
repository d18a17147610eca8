"""Numbers for people: reasons by family, and bars whose lengths are whole SVG units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.report import CampaignRow
from gateway.words import Language, Words
from suppression.reason_code import FAMILY

# The order of the five families, everywhere; the same five colours follow it in the style sheet (.f-opt-out ...).
FAMILIES: Final = ("opt-out", "no-ground", "proof", "product", "technical")
BAR: Final = 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a bar: `x` and `width` of BAR."""

    family: str
    count: int
    x: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """What became of all recipients."""

    accepted: int
    allowed: int
    delivered: int
    captured: int
    blocked: int
    deferred: int
    bounced: int
    opted_out: int
    complaints: int
    families: Mapping[str, int]

    @property
    def segments(self) -> list[Segment]:
        """What was kept out, as one whole bar."""
        return segments(self.families, sum(self.families.values()))


def family(code: str) -> str:
    """The family of a code, as a name for style sheets and catalogue keys; a code from elsewhere is technical."""
    return FAMILY.get(code, "technical").replace(" ", "-")


def families(reasons: Mapping[str, int]) -> dict[str, int]:
    """How many per family, all five in order."""
    counts = dict.fromkeys(FAMILIES, 0)
    for code, count in reasons.items():
        counts[family(code)] += count
    return counts


def counted_reasons(
    counts: Mapping[str, int], words: Words, language: Language, link: str | None = None
) -> list[dict[str, Any]]:
    """Reasons of a campaign, the most frequent first, with bars of their share. `link`: the list of a reason's people,
    up to the code.
    """
    counted = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most = counted[0][1] if counted else 0
    return [
        {
            "code": code, "count": count, "family": family(code), "bar": segments({family(code): count}, most),
            "words": words.reason(code, language), "link": None if link is None else link + code,
        }
        for code, count in counted
    ]  # fmt: skip


def funnel(rows: Sequence[CampaignRow]) -> Funnel:
    """The sum of campaigns."""
    reasons: dict[str, int] = {}
    for row in rows:
        for code, count in row.blocked_by_reason.items():
            reasons[code] = reasons.get(code, 0) + count
    return Funnel(
        accepted=sum(row.accepted for row in rows), allowed=sum(row.allowed for row in rows),
        delivered=sum(row.delivered for row in rows),
        captured=sum(row.captured for row in rows), blocked=sum(row.blocked for row in rows),
        deferred=sum(row.deferred for row in rows), bounced=sum(row.bounced for row in rows),
        opted_out=sum(row.opted_out for row in rows), complaints=sum(row.complaints for row in rows),
        families=families(reasons),
    )  # fmt: skip


def segments(counts: Mapping[str, int], whole: int) -> list[Segment]:
    """Pieces from left to right; each that has anything is at least wide enough to see."""
    pieces, x = [], 0
    for name, count in counts.items():
        if count and whole:
            width = max(round(BAR * count / whole), 8)
            pieces.append(Segment(name, count, x, width))
            x += width
    return pieces
