"""Mail of a service stream that looks like advertising: what is done about it, and how many people got the same text.

What a stream says about it (`mislabelled`) counts, unless somebody answered for mail like this before: the same text,
or the same sender and form of subject with no sign that was not there when they answered.

Counting the same text: one bitmap per text and window (linear counting, Whang 1990), so that a person counts once and
what several workers saw is joined by "or". It lives in memory and is joined with the store once a second, and only
texts that at least two people got: a decision never waits for it, it is at most a second behind, and what is on disk is
bounded by texts per window. Nobody can be read out of it: 1024 bits, kept for two windows.
"""

import hashlib
import hmac
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from gateway.config import Config, Controller, Stream
from gateway.mail.classify import Kind
from gateway.mail.promotional import Sign
from gateway.store.holding import Answer, Seen
from suppression.vault import KeyRing

BITS: Final = 1024
TEXTS: Final = 20_000
"""Texts that are counted at one time, in each process; the one not seen for longest goes first."""
JOINED: Final = 500
"""Texts joined with the store in one go."""

Handling = Literal["", "block", "hold", "flag", "service"]
"""What is done: nothing; counts as marketing; waits for an answer; sent and reported; somebody said it is service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a message is taken for. `skeleton`: hex, keyed; "" where the text is too short."""

    handling: Handling
    signs: tuple[Sign, ...] = ()
    skeleton: str = ""


NOTHING: Final = Judged(handling="")


def handling_of(stream: Stream) -> Handling:
    """What the stream does about mail with enough signs."""
    return "flag" if stream.mislabelled == "allow-and-flag" else stream.mislabelled


def unwatched(kind: Kind, controller: Controller, stream: Stream, addresses: Sequence[str]) -> Judged:
    """Where nothing is sent (a simulation): what would wait counts as marketing."""
    if not kind.signs or not controller.promotional.reached(kind.signs):
        return Judged(handling="", signs=kind.signs)
    handling = handling_of(stream)
    return Judged(handling="block" if handling == "hold" else handling, signs=kind.signs)


@dataclass(slots=True)
class _Text:
    slot: int
    people: int = 0
    before: int = 0
    told: int = 0


class Lookalikes:
    """One per process. `judge` may be called from any thread; `to_join` and `joined` from the loop."""

    def __init__(self, ring: KeyRing) -> None:
        self._key = list(ring.derived("skeleton").values())[-1]
        self._texts: OrderedDict[tuple[str, str, bytes], _Text] = OrderedDict()
        self._answers: Mapping[str, Sequence[Answer]] = {}
        self._lock = threading.Lock()
        self._now: datetime | None = None

    def at(self, now: datetime) -> "Lookalikes":
        """Set the time; windows are long, so once per message is enough."""
        self._now = now
        return self

    def judge(self, kind: Kind, controller: Controller, stream: Stream, addresses: Sequence[str]) -> Judged:
        """What a message to these people is taken for."""
        rules = controller.promotional
        skeleton = hmac.digest(self._key, kind.skeleton, hashlib.sha256)[:16] if kind.skeleton else b""
        signs = kind.signs
        if skeleton and self._now is not None:
            slot = int(self._now.timestamp()) // (60 * rules.minutes)
            people = self._count((controller.id, stream.name, skeleton), slot, addresses)
            if (repeated := rules.repeated_sign(people)) is not None:
                signs = (*signs, repeated)
        if not rules.reached(signs):
            return Judged(handling="", signs=signs, skeleton=skeleton.hex())
        answer = self._answer(controller.id, stream.name, skeleton.hex(), kind.likeness, signs)
        if answer is None:
            return Judged(handling=handling_of(stream), signs=signs, skeleton=skeleton.hex())
        return Judged(handling="service" if answer.service else "block", signs=signs, skeleton=skeleton.hex())

    def _count(self, key: tuple[str, str, bytes], slot: int, addresses: Sequence[str]) -> int:
        """How many people got the text in this window and the one before, about."""
        bits = 0
        for address in addresses:
            digest = hashlib.blake2b(address.casefold().encode(), key=self._key, digest_size=4).digest()
            bits |= 1 << (int.from_bytes(digest, "big") % BITS)
        with self._lock:
            text = self._texts.get(key)
            if text is None:
                text = self._texts[key] = _Text(slot)
                if len(self._texts) > TEXTS:
                    self._texts.popitem(last=False)
            else:
                self._texts.move_to_end(key)
            _turn(text, slot)
            text.people |= bits
            return people_in(text.people | text.before)

    def _answer(
        self, controller_id: str, stream: str, skeleton: str, likeness: str, signs: Iterable[Sign]
    ) -> Answer | None:  # fmt: skip
        """The last answer about mail like this."""
        said = tuple(map(str, signs))
        for answer in reversed(self._answers.get(controller_id, ())):
            mine = answer.skeleton, answer.likeness, answer.signs
            if answer.stream == stream and alike(*mine, skeleton, likeness, said):
                return answer
        return None

    def to_join(self) -> list[Seen]:
        """What the store has not been told: texts that more than one person got."""
        with self._lock:
            found = [
                Seen(controller_id=key[0], stream=key[1], skeleton=key[2], slot=text.slot, people=text.people)
                for key, text in self._texts.items()
                if text.people != text.told and text.people.bit_count() > 1
            ]
        return found[:JOINED]

    def joined(self, rows: Iterable[Seen]) -> None:
        """What the store knows of these texts, all workers together."""
        with self._lock:
            for row in rows:
                text = self._texts.get((row.controller_id, row.stream, row.skeleton))
                if text is None:
                    continue
                if text.slot == row.slot:
                    text.told = row.people
                    text.people |= row.people
                    text.before |= row.before

    def learn(self, answers: Mapping[str, Sequence[Answer]]) -> None:
        """All answers that stand, oldest first, by controller."""
        self._answers = answers


def oldest_window(config: Config, now: datetime) -> int:
    """The number of the oldest window that is still counted."""
    minutes = max((one.promotional.minutes for one in config.controllers.values()), default=1)
    return int(now.timestamp()) // (60 * minutes) - 1


def _turn(text: _Text, slot: int) -> None:
    """A new window begins: what was seen before counts for one more."""
    if slot != text.slot:
        text.before = text.people if slot == text.slot + 1 else 0
        text.people, text.told, text.slot = 0, 0, slot


def people_in(bits: int) -> int:
    """How many people made this bitmap, about; within a few for the first hundred (linear counting)."""
    unset = BITS - bits.bit_count()
    return round(BITS * math.log(BITS / unset)) if unset else BITS * 8


def alike(
    skeleton: str, likeness: str, signs: Iterable[str], its_skeleton: str, its_likeness: str, its_signs: Iterable[str]
) -> bool:
    """Whether an answer about the first mail holds for the second: the same text; or the same sender and form of
    subject, and nothing in it that was not there when the answer was given. `signs` as they are stored."""
    if skeleton and skeleton == its_skeleton:
        return True
    return bool(likeness) and likeness == its_likeness and _covered(its_signs) <= _covered(signs)


def _covered(signs: Iterable[str]) -> set[str]:
    """What an answer covers of signs: bulk fields, codes and links by kind, wording by its phrase."""
    read = map(Sign.read, signs)
    return {f"{sign.name} {sign.what}" if sign.name == "wording" else sign.name for sign in read}
