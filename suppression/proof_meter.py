"""The proof of a whole list, counted: people by their best grade, the wordings in use, what most proof lacks.

Counts only, no person; a meter's memory is bounded whatever an import made of the free texts. Nothing here decides.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from suppression.basis import OWN_SOURCES
from suppression.consent import Consent
from suppression.evidence import LEVELS, Level, grade
from suppression.standing import Standing

MOST_NAMES: Final = 500
"""Names of wordings, and ways of collection, that are counted apart; the others are counted together."""
OTHERS: Final = "\N{HORIZONTAL ELLIPSIS}"
"""What those others stand under."""


@dataclass(slots=True)
class Meter:
    """The proof of one controller's list. Consents count while they are in force.

    `people`: those with a record; `best`: those who agreed to anything, by the best grade of their consents, and
    `purposes` the same per purpose. `wordings`: consents by version; `ways`: consents by "source/method", by level;
    `lacks`: consents by what their proof lacks.
    """

    people: int = 0
    best: Counter[str] = field(default_factory=Counter)
    purposes: dict[str, Counter[str]] = field(default_factory=dict)
    wordings: Counter[str] = field(default_factory=Counter)
    ways: dict[str, Counter[str]] = field(default_factory=dict)
    lacks: Counter[str] = field(default_factory=Counter)

    @property
    def agreed(self) -> int:
        """People with a consent in force."""
        return self.best.total()

    def add(self, standing: Standing, controller_id: str, on_file: Collection[str], now: datetime) -> None:
        """Count one person. `on_file`: the names of the wordings that are."""
        self.people += 1
        best: dict[str, int] = {}
        for consent in standing.consents:
            if not in_force(consent, controller_id, now):
                continue
            version = consent.evidence.wording_version
            graded = grade(consent, wording_on_file=version in on_file)
            self.wordings[_bounded(version or "", self.wordings)] += 1
            way = _bounded(_way(consent), self.ways)
            self.ways.setdefault(way, Counter())[graded.level] += 1
            self.lacks.update(graded.lacks)
            for purpose in consent.purposes:
                best[purpose] = max(best.get(purpose, 0), graded.rank)
        for purpose, rank in best.items():
            self.purposes.setdefault(_bounded(purpose, self.purposes), Counter())[LEVELS[rank]] += 1
        if best:
            self.best[LEVELS[max(best.values())]] += 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with every level named."""
        return {
            "people": self.people, "best": _levels(self.best),
            "purposes": {name: _levels(counts) for name, counts in self.purposes.items()},
            "wordings": dict(self.wordings), "ways": {name: _levels(counts) for name, counts in self.ways.items()},
            "lacks": dict(self.lacks),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Meter":
        """A meter as `to_dict` wrote it."""
        return cls(
            people=said["people"], best=Counter(said["best"]),
            purposes={name: Counter(counts) for name, counts in said["purposes"].items()},
            wordings=Counter(said["wordings"]), ways={name: Counter(counts) for name, counts in said["ways"].items()},
            lacks=Counter(said["lacks"]),
        )  # fmt: skip


def in_force(consent: Consent, controller_id: str, now: datetime) -> bool:
    """Whether a consent is one for this controller that was given, not withdrawn and not at its stated end."""
    if consent.source in OWN_SOURCES:
        ours = consent.controller_id == controller_id
    else:
        ours = controller_id in consent.named_recipients
    begun = consent.given_at is None or consent.given_at <= now
    ended = any(at is not None and at <= now for at in (consent.withdrawn_at, consent.expires_at))
    return ours and begun and not ended


def weakest(meter: Meter, n: int) -> list[tuple[str, int, int]]:
    """The ways of collection with the most weak proof: name, consents with weak or bare proof, all of its consents."""
    found = [(name, counts["bare"] + counts["weak"], counts.total()) for name, counts in meter.ways.items()]
    return sorted((one for one in found if one[1]), key=lambda one: (-one[1], one[0]))[:n]


def _way(consent: Consent) -> str:
    return f"{consent.source}/{consent.evidence.method or ''}"


def _bounded(name: str, counted: Collection[str]) -> str:
    return name if name in counted or len(counted) < MOST_NAMES else OTHERS


def _levels(counts: Mapping[str, int]) -> dict[Level, int]:
    return {level: counts.get(level, 0) for level in LEVELS}
