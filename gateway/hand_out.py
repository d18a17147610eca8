"""People leave as a file for another tool (`consentgate export`): opt-outs, consents, or who they are.

Read page by page, each person opened for a moment; the file is new, and its owner's alone. The ledger has who made it,
of what, its digest, and for whom and why where that was said (RULES.md S3, S13), before anybody is told that it is
there; without that entry there is no file. Whoever is restricted leaves in no list but that of opt-outs (GDPR art. 18).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.config import Controller
from gateway.files.outgoing import WRITERS, Entry, Held, Writer
from gateway.new_file import new_file
from gateway.record import staff_acts
from gateway.store.contract import Person, Store
from gateway.store.imported import Enrolled
from gateway.who import whose
from suppression.vault import KeyRing

PAGE: Final = 500
"""People read at a time: a bound on memory."""


@dataclass(slots=True, kw_only=True)
class HandedOut:
    """What an export wrote. `rows` of `people`.

    `nameless`: people who must not be mailed and whose address is not on file, so they cannot be named to anybody.
    `restricted`: people left out, since their data may only be stored. `unreadable`: people whose row does not open.
    """

    rows: int = 0
    people: int = 0
    nameless: int = 0
    restricted: int = 0
    unreadable: int = 0
    digest: str = ""


async def hand_out(
    file: Path, kind: Held, form: str, *, store: Store, controller: Controller, ring: KeyRing, now: datetime, by: str,
    to: str = "", why: str = "", progress: Callable[[int], None] | None = None,
) -> HandedOut:  # fmt: skip
    """Write one new file. Raises Unwritable, or StoreUnavailable; then there is no file.

    `to`, `why`: to whom it goes and for what, for the ledger.
    """
    done = HandedOut()
    writer = WRITERS[form, kind]
    with new_file(file) as out:
        digest = hashlib.sha256()

        def put(text: str) -> None:
            data = text.encode()
            digest.update(data)
            out.write(data)

        put(writer.begin)
        after: bytes | None = b""
        while after is not None:
            page = await store.roster(controller.id, after=after, n=PAGE)
            whos = [whose(ring, controller.id, one.address, one.recipient_key) for one in page.people]
            known = await store.people(whos)
            for text in _texts(writer, kind, list(zip(page.people, known, strict=True)), now, done):
                put(text)
            done.unreadable += page.unreadable
            after = page.after
            if progress is not None:
                progress(done.people)
        put(writer.end)
        if kind == "suppressions":
            done.nameless = await store.nameless(controller.id)
        done.digest = digest.hexdigest()
        private = {"to": to, "why": why, "by": by}
        for note in staff_acts(
            [controller.id], "export", by="command line", at=now, private=private, kind=kind, format=form,
            rows=done.rows, sha256=done.digest,
        ):  # fmt: skip
            await store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)
    return done


def _texts(
    writer: Writer, kind: Held, people: Sequence[tuple[Enrolled, Person]], now: datetime, done: HandedOut
) -> Iterator[str]:
    """The rows of a page of people."""
    for enrolled, person in people:
        if not person.readable:
            done.unreadable += 1
        elif kind != "suppressions" and _restricted(person, now):
            done.restricted += 1
        elif kind == "suppressions" or person.standing.known:
            rows = list(writer.rows(_entry(enrolled, person, now)))
            done.people += bool(rows)
            for cells in rows:
                yield writer.text(cells, done.rows == 0)
                done.rows += 1


def _restricted(person: Person, now: datetime) -> bool:
    return any(
        one.since <= now and (one.lifted_at is None or one.lifted_at > now) for one in person.standing.restrictions
    )


def _entry(enrolled: Enrolled, person: Person, now: datetime) -> Entry:
    standing = person.standing
    return Entry(
        address=enrolled.address, name=enrolled.name, external_id=enrolled.external_id,
        language=standing.language or "", country=standing.country or "",
        billing_country=standing.billing_country or "", dead=standing.recipient.undeliverable,
        facts=enrolled.declared, consents=standing.consents, suppressions=person.suppressions,
        now=now.astimezone(UTC),
    )  # fmt: skip
