"""Whether mail of a service stream looks like advertising: signs with points, each with what it was found by.

The words are data (promotional.toml), an operator may change them. Signs name the phrase of that file or a header
field, never a piece of the message, so that they can be stored and shown. What is done about it is the stream's
setting `mislabelled`, and the operator's answer.

Pure; judging is total, loading raises PromotionalError. Source: DESIGN section 6, RULES 2.2 (found by the classifier).
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.mail.mime import Message
from gateway.mail.skeleton import Text, words_of

BULK_PRECEDENCE = frozenset({b"bulk", b"list", b"junk"})
CAMPAIGN_FIELDS = (
    "List-Unsubscribe", "List-Id", "List-Unsubscribe-Post", "List-Post", "List-Help", "List-Subscribe", "List-Owner",
    "List-Archive", "X-Listmonk-Campaign", "X-Mw-Campaign-Uid", "X-campaignid", "X-Campaign", "X-CiviMail-Bounce",
    "X-CSA-Complaints",
)  # fmt: skip
"""What only mail to a list has: fields of RFC 2369, 2919, 8058, and those that tools write for campaigns alone."""

_NUMBERS = ("threshold", "bulk", "coupon", "tracking", "repeated")
_FURTHER = 3
"""Points that further phrases of a group bring at most."""
_COUPON = re.compile(rb"\bcode[\s:]+(?:<[^<>]{0,80}>\s*)?[\"']?[a-z]{4,20}[0-9]{1,3}\b")
"""`code WELCOME10`: letters, then a number that says how much; codes to sign in with are no such thing."""


class PromotionalError(ValueError):
    """A file of wording that cannot be used. Names the file, the field and a remedy."""

    def __init__(self, file: str, field: str, what: str, remedy: str) -> None:
        super().__init__(f"{file}: {field}: {what}. {remedy}")
        self.file, self.field, self.what, self.remedy = file, field, what, remedy


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign. `name`: bulk, repeated, coupon, tracking or wording; `what`: field, number, phrase or link."""

    name: str
    points: int
    what: str

    def __str__(self) -> str:
        return f"{self.name} {self.points} {self.what}"

    @classmethod
    def read(cls, stored: str) -> "Sign":
        """A sign from its stored form."""
        name, points, what = stored.split(" ", 2)
        return cls(name, int(points), what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A group of phrases that mean much the same."""

    name: str
    points: int
    says: tuple[str, ...]


class PromotionalRules:
    """The signs and their points. Made once per configuration; judging changes nothing in it."""

    def __init__(
        self, numbers: Mapping[str, int], *, recipients: int, minutes: int, links: Iterable[str],
        coupons: Iterable[str], wordings: Iterable[Wording],
    ) -> None:  # fmt: skip
        self.threshold, self.repeated = numbers["threshold"], numbers["repeated"]
        self.recipients, self.minutes = recipients, minutes
        self._bulk, self._coupon, self._tracking = numbers["bulk"], numbers["coupon"], numbers["tracking"]
        self._links = tuple((piece.encode(), piece) for piece in links)
        self.wordings = tuple(wordings)
        self.coupons = Wording(name="coupon", points=self._coupon, says=tuple(coupons))
        self._by_first: dict[str, list[tuple[str, Wording, str]]] = {}
        for wording in (*self.wordings, self.coupons):
            for phrase in wording.says:
                words = words_of(phrase)
                self._by_first.setdefault(words[0], []).append((f" {' '.join(words)} ", wording, phrase))

    def bulk_signs(self, message: Message, present: Collection[bytes]) -> list[Sign]:
        """Header fields that only bulk mail has. One of them is enough, so the points are counted once."""
        found = [field for field in CAMPAIGN_FIELDS if field.lower().encode("ascii") in present]
        if b"precedence" in present and any(
            value.strip().lower() in BULK_PRECEDENCE for value in message.get_all(b"precedence")
        ):
            found.append("Precedence")
        return [Sign("bulk", self._bulk if n == 0 else 0, field) for n, field in enumerate(found)]

    def text_signs(self, text: Text) -> list[Sign]:
        """What wording, codes and links say."""
        line = text.line
        said: dict[Wording, list[str]] = {}
        for word in set(text.words) & self._by_first.keys():
            for piece, wording, phrase in self._by_first[word]:
                if piece in line:
                    said.setdefault(wording, []).append(phrase)
        signs = [
            Sign("wording", wording.points + min(len(phrases) - 1, _FURTHER), min(phrases))
            for wording, phrases in said.items()
            if wording is not self.coupons
        ]
        if self.coupons in said or _COUPON.search(text.code):
            signs.append(Sign("coupon", self._coupon, min(said.get(self.coupons, ["CODE10"]))))
        signs.sort(key=lambda sign: (-sign.points, sign.what))
        link = next((shown for piece, shown in self._links if piece in text.code), None)
        if link is not None:
            signs.append(Sign("tracking", self._tracking, link))
        return signs

    def repeated_sign(self, people: int) -> Sign | None:
        """The same text went to so many people within the window."""
        return Sign("repeated", self.repeated, str(self.recipients)) if people >= self.recipients else None

    def reached(self, signs: Iterable[Sign]) -> bool:
        """Whether signs are enough to ask."""
        return score(signs) >= self.threshold


def score(signs: Iterable[Sign]) -> int:
    """The points of signs together."""
    return sum(sign.points for sign in signs)


def load_promotional(
    shipped: str, own: str | None = None, *, name: str = "", file: str = "promotional.toml"
) -> PromotionalRules:
    """The rules that ship, and what a file of the installation changes about them. Raises PromotionalError."""
    base = _Reader(shipped, file)
    numbers, window = base.numbers(), base.window()
    links, coupons = base.phrases("links"), base.phrases("coupons")
    wordings = {one.name: one for one in base.wordings()}
    if own is not None:
        mine = _Reader(own, name)
        numbers |= mine.numbers()
        window |= mine.window()
        links, coupons = mine.phrases("links") or links, mine.phrases("coupons") or coupons
        for dropped in mine.drop(wordings):
            del wordings[dropped]
        wordings |= {one.name: one for one in mine.wordings()}
    return PromotionalRules(
        numbers, recipients=window["recipients"], minutes=window["minutes"], links=links, coupons=coupons,
        wordings=wordings.values(),
    )  # fmt: skip


class _Reader:
    """One file, checked."""

    _KNOWN = frozenset({*_NUMBERS, "window", "links", "coupons", "wording", "drop"})

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        try:
            self._document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._wrong("file", f"is not TOML: {error}", "Correct the line") from None
        for key in self._document.keys() - self._KNOWN:
            raise self._wrong(key, "is unknown", f"Known: {', '.join(sorted(self._KNOWN))}")

    def _wrong(self, field: str, what: str, remedy: str) -> PromotionalError:
        return PromotionalError(self._file, field, what, remedy)

    def numbers(self) -> dict[str, int]:
        return {key: self._number(key, self._document[key]) for key in _NUMBERS if key in self._document}

    def _number(self, field: str, value: object, least: int = 0) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._wrong(field, f"is no whole number from {least} on", "Write one, as 4")
        return value

    def window(self) -> dict[str, int]:
        table = self._table("window", ("recipients", "minutes"))
        return {key: self._number(f"window.{key}", value, 1) for key, value in table.items()}

    def _table(self, field: str, known: tuple[str, ...]) -> dict[str, Any]:
        table = self._document.get(field, {})
        if not isinstance(table, dict) or not table.keys() <= set(known):
            raise self._wrong(field, "is no table of its fields", f"Known: {', '.join(known)}")
        return table

    def phrases(self, field: str) -> tuple[str, ...]:
        return self._texts(f"{field}.says", self._table(field, ("says",)).get("says", []))

    def _texts(self, field: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) and words_of(one) for one in value):
            raise self._wrong(field, "is no list of phrases with a word in each", 'Write ["shop now", ...]')
        return tuple(value)

    def wordings(self) -> list[Wording]:
        tables = self._document.get("wording", [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            raise self._wrong("wording", "is no list of tables", "Write each under [[wording]]")
        return [self._wording(n, table) for n, table in enumerate(tables)]

    def _wording(self, n: int, table: dict[str, Any]) -> Wording:
        field = f"wording[{n}]"
        if table.keys() != {"name", "points", "says"} or not isinstance(table["name"], str) or not table["name"]:
            raise self._wrong(field, "needs name, points and says, and nothing else", "See the file that ships")
        points = self._number(f"{field}.points", table["points"])
        return Wording(name=table["name"], points=points, says=self._texts(f"{field}.says", table["says"]))

    def drop(self, known: Collection[str]) -> tuple[str, ...]:
        names = self._document.get("drop", [])
        if not isinstance(names, list):
            raise self._wrong("drop", "is no list of names", 'Write ["event", ...]')
        for name in names:
            if name not in known:
                raise self._wrong("drop", f"names {name!r}, which does not ship", f"Known: {', '.join(known)}")
        return tuple(names)
