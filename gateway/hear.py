"""What comes to the return path: read, and handed to `heed`, which takes it into memory.

Who it was sent to says how it is read: the return path of a copy (`b+ID@`) names that copy; `unsub@` is an opt-out
whatever is written; `postmaster@`, `abuse@` and the addresses in `heard_at` take reports, complaints and replies.
The answer is given once all of it is committed. Nothing is relayed: a report may go on to the tool whose mail came
back, as a message of our own (forward.py).
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from gateway import heed, log
from gateway.config import Config
from gateway.forward import Forwards
from gateway.heed import Known, Letter, Noted
from gateway.mail import reply
from gateway.mail.came_back import open_message
from gateway.mail.envelope import Envelope
from gateway.mail.event import Event
from gateway.mail.human_reply import own_words
from gateway.mail.reply import Reply
from gateway.mail.return_id import ReturnId
from gateway.mail.returned import read
from gateway.store.contract import Store, StoreUnavailable
from suppression.address import domain_of

LARGE = 4 * 1024
"""From this size on a message is read in a thread, not on the loop (bytes): a report that packs recipients into 60 kB
takes a second, and opt-outs and hand-over wait for nothing less than the loop."""
MOST_WORDS = 20_000
"""Characters of a reply that are kept for a person to read."""
UNSUBSCRIBE = "unsub"


class Hear:
    """Takes mail that comes back. `configure` swaps the configuration between messages."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock

    def configure(self, known: Known, forwards: Forwards) -> None:
        self._known, self._forwards = known, forwards
        self._places = places(known.config)

    async def __call__(self, envelope: Envelope) -> Reply:
        """Take it into memory; 451 while that cannot be done."""
        now, content = self._clock(), envelope.content
        work = partial(_read, content, self._known, now)
        event, words = work() if len(content) < LARGE else await asyncio.to_thread(work)
        noted: list[Noted] = []
        try:
            for controller_id, letter in self._letters(envelope, words):
                noted += await heed.heed(
                    self._store, event, known=self._known, controller_id=controller_id, now=now, letter=letter
                )
        except StoreUnavailable as down:
            log.store_unavailable(where="return path", error=down)
            return reply.STORE_DOWN
        references = [one.reference for one in noted if one.reference]
        return reply.OK_RETURNED.with_text(f"{reply.OK_RETURNED.text} {references[0] if references else 'unread'}")

    def _letters(self, envelope: Envelope, words: dict[str, str]) -> Iterator[tuple[str, Letter]]:
        """The message as it came to each controller: one for each copy it names, else one."""
        digest = hashlib.sha256(envelope.content).digest()
        found: dict[tuple[str, ReturnId | None], Letter] = {}
        asked: set[str] = set()  # of whom it asks to stop, whoever else of theirs it went to
        for rcpt in envelope.rcpts:
            local, _, domain = rcpt.address.rpartition("@")
            controller_id = self._places.get(rcpt.address.lower()) or self._places.get(domain_of(domain) or "")
            if controller_id is None:
                continue  # taken out of the settings while the message came in
            copy = self._known.returns[controller_id].open(local)
            if local.lower() == UNSUBSCRIBE:
                asked.add(controller_id)
            found[controller_id, copy] = Letter(
                copy=copy, from_nobody=not envelope.mail_from, words=words,
                digest=digest + (b"" if copy is None else local.lower().encode()),
                forward=partial(self._forwards.report, controller_id, envelope) if copy is not None else None,
            )  # fmt: skip
        for (controller_id, copy), letter in found.items():
            if copy is not None or not any(one == controller_id and also is not None for one, also in found):
                yield controller_id, replace(letter, asked=controller_id in asked)


def places(config: Config) -> dict[str, str]:
    """Whose mail it is, by return domain and by the addresses heard besides."""
    found = {}
    for controller in config.controllers.values():
        if controller.return_domain:
            found[controller.return_domain.lower()] = controller.id
        found |= {address.lower(): controller.id for address in controller.heard_at}
    return found


def _read(content: bytes, known: Known, now: datetime) -> tuple[Event, dict[str, str]]:
    """The event, and where a person has to look, what they have to read."""
    event = read(content, rules=known.config.bounce_rules, at=now)
    if not event.needs_person and event.kind != "complaint":
        return event, {}
    mail = open_message(content)
    said = {"subject": mail.field(b"subject"), "from": mail.field(b"from"), "text": own_words(mail) or mail.report}
    return event, {name: text[:MOST_WORDS] for name, text in said.items() if text.strip()}
