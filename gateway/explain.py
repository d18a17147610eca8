"""Why may, or may not, this mail go to this person? A stored decision explained, and the same question asked now.

The facts of then come from the ledger (recall.py). Where they cannot be had any more (the person was erased, the stream
is gone) the result is explained without them, and that is said. Reads only; whoever shows a person to staff has the
look written down first (`record.looked`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.config import Config, Controller, Stream
from gateway.recall import BATCH, Gone, WeighedAgain, case_of, lookup, weighed_again
from gateway.recognised import doubt
from gateway.sentences import spoken, tell
from gateway.store.contract import Person, Store
from gateway.store.history import Decided
from gateway.weigh import Case, Scales
from gateway.words import Language, Words
from suppression.address import canonical
from suppression.explain import Explanation, explain, outline
from suppression.vault import KeyRing

Unknown = Literal["gone", "no_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A stored decision explained.

    `then`: the decision as it fell. `unknown`: why its facts could not be had, None where they could. `changed`: what
    rules and settings of now say on the facts of then, where that is another answer. `today`: the same message now,
    None where nobody can be asked about. `address`: as stored, for those who may see it.
    """

    decided: Decided
    then: Explanation
    unknown: Unknown | None
    changed: Explanation | None
    today: Explanation | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """What the story needs of a gateway: settings, scales, keys."""

    config: Config
    scales: Scales
    ring: KeyRing


async def decisions(
    store: Store, mine: Mine, decided: Sequence[Decided], *, now: datetime | None = None
) -> list[Explained]:  # fmt: skip
    """Decisions of one controller explained, at most recall.BATCH; with `now` (aware UTC) also as of today."""
    assert len(decided) <= BATCH
    again = await weighed_again(store, mine.config, mine.scales, mine.ring, decided)
    live: list[Person | None] = [None] * len(again)
    if now is not None and decided:
        whos = [lookup(mine.ring, one.decided.controller_id, one.decided.recipient_key, one.address) for one in again]
        live = list(await store.people(whos))
    return [_explained(mine, one, person, now) for one, person in zip(again, live, strict=True)]


def _explained(mine: Mine, again: WeighedAgain, person: Person | None, now: datetime | None) -> Explained:
    decided, then, changed = again.decided, None, None
    bare = result_of(decided)
    unknown: Unknown | None = "gone" if isinstance(again.person, Gone) else "no_stream" if again.facts is None else None
    if again.facts is not None and again.ruling is not None:
        fresh = explain(again.facts, again.ruling.decision, mine.scales.book(decided.controller_id))
        then, changed = (fresh, None) if again.agrees else (None, fresh)
    today = None
    stream, case = mine.config.controllers[decided.controller_id].streams.get(decided.stream), case_of(decided)
    if now is not None and stream and case and person is not None and not isinstance(again.person, Gone):
        today = _weighed(mine, case, stream, None if again.person is None else person, now)  # None: no address
    return Explained(
        decided=decided, then=then or bare, unknown=unknown, changed=changed, today=today, address=again.address
    )


def result_of(decided: Decided) -> Explanation:
    """What a stored decision says by itself: rule, articles, remedy, actor; nothing of what is known of the person."""
    return outline(decided.verdict, decided.reason_code, decided.cite, decided.trace, decided.basis, _pack(decided))


def _pack(decided: Decided) -> str | None:
    return decided.packs.partition(" ")[0].partition("+")[0].partition("@")[0] or None


def _weighed(mine: Mine, case: Case, stream: Stream, person: Person | None, now: datetime) -> Explanation:
    controller = mine.config.controllers[stream.controller]
    facts, _ = mine.scales.gather(case, controller, stream)(person, now)
    ruling = mine.scales.lay(case, controller, stream)(person, now)
    return explain(facts, ruling.decision, mine.scales.book(controller.id))


async def may_receive(
    store: Store, mine: Mine, controller: Controller, address: str, *, streams: Sequence[str] = (),
    purpose: str | None = None, categories: Sequence[str] | None = None, now: datetime,
) -> dict[str, Explanation]:  # fmt: skip
    """What each stream (those named, else all) may send to an address now, and why; explained as a mail that is right.

    `purpose`, `categories`: as a message could choose them, else the stream's. Writes nothing.
    """
    person: Person | None = None
    if canonical(address) is not None:
        person = (await store.people([lookup(mine.ring, controller.id, None, address)]))[0]
    return may_receive_person(
        mine, controller, person, streams=streams, purpose=purpose, categories=categories, now=now
    )  # fmt: skip


def may_receive_person(
    mine: Mine, controller: Controller, person: Person | None, *, streams: Sequence[str] = (),
    purpose: str | None = None, categories: Sequence[str] | None = None, now: datetime,
) -> dict[str, Explanation]:  # fmt: skip
    """The same for somebody who was looked up already; None: the address is none."""
    wanted = [controller.streams[name] for name in streams or controller.streams]
    return {
        stream.name: _weighed(mine, sound_case(controller, stream, purpose, categories), stream, person, now)
        for stream in wanted
    }


def sound_case(
    controller: Controller, stream: Stream, purpose: str | None = None, categories: Sequence[str] | None = None
) -> Case:
    """A message of a stream with nothing wrong in it, so that only the recipient and the settings decide."""
    domains = [domain for domain in stream.from_domains if domain in controller.signing_domains] or [
        *stream.from_domains
    ]
    return Case(
        message_class=stream.message_class, promotional=False, purpose=purpose or stream.purpose,
        categories=tuple(categories) if categories is not None else stream.categories,
        transaction_ref=stream.transaction_ref is not None, restriction_exemption=None, unsubscribe="injectable",
        from_domain=domains[0] if domains else "", matched=("question",),
    )  # fmt: skip


def on_file(explained: Sequence[Explained]) -> list[bytes]:
    """The keys of those whom explanations told something about: not of who was erased since."""
    return [one.decided.recipient_key for one in explained if one.unknown != "gone"]


def spoken_fields(words: Words, language: Language, one: Explained, controller: Controller) -> dict[str, Any]:
    """An explained decision as JSON: `explanation` and `text` of then; `unknown`, `changed`, `today` where known."""
    said: dict[str, Any] = spoken(words, language, one.then, controller)
    if (doubted := doubt(words, language, one.decided.kind)) is not None:
        said["mislabelled"] = {name: one.decided.kind[name] for name in ("handling", "signs")}
        said["text"] += " " + doubted
    if one.unknown is not None:
        said["unknown"] = one.unknown
        said["text"] += " " + words.text(language, f"explain.{one.unknown}")
    for name, other in (("changed", one.changed), ("today", one.today)):
        if other is not None:
            said[name] = spoken(words, language, other, controller)
    return said


def paragraphs(words: Words, language: Language, one: Explained, controller: Controller) -> list[str]:
    """Everything about one decision, for a reader of plain text."""
    said = [tell(words, language, one.then, controller).text]
    if (doubted := doubt(words, language, one.decided.kind)) is not None:
        said.append(doubted)
    if one.unknown is not None:
        said.append(words.text(language, f"explain.{one.unknown}"))
    if one.changed is not None:
        said.append(f"{words.text(language, 'explain.changed')} {tell(words, language, one.changed, controller).text}")
    if one.today is not None and one.today.code == one.then.code:
        said.append(words.text(language, "decision.same"))
    elif one.today is not None:
        said.append(f"{words.text(language, 'explain.today')} {tell(words, language, one.today, controller).text}")
    return said
