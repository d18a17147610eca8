"""People whose address a third party passed on are told so by letter (GDPR art. 14; RULES.md M8).

Mail that leaves on such a consent says it in its footer, and that is enough where it leaves within a month of the day
we got the address. Whoever is not mailed by then is owed a letter. That so many letters leave is a person's decision,
never an import's: this is what the decision sets off.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.config import Controller
from gateway.store.contract import Store, Who
from gateway.store.corresponding import OwedLetter
from suppression.basis import OWN_SOURCES
from suppression.provenance import list_named

PAGE: Final = 500


@dataclass(slots=True, kw_only=True)
class Informed:
    """`on_list`: people with a consent from the list. `owed`: of those, letters that are owed now; the others were
    written down before, or the mail they got has said it."""

    on_list: int = 0
    owed: int = 0


async def inform(
    store: Store, controller: Controller, name: str, *, due_at: datetime, dry: bool,
    progress: Callable[[int], None] | None = None,
) -> Informed:  # fmt: skip
    """Owe a letter to everybody with a consent from the list `name`. Again: nobody is owed a second one.

    `due_at`: not earlier. `progress` is called with the people looked at. Raises StoreUnavailable; then some are owed
    theirs, and it is run again.
    """
    done, seen = Informed(), 0
    after: bytes | None = b""
    while after is not None:
        page = await store.roster(controller.id, after=after, n=PAGE)
        keys = [one.recipient_key for one in page.people]
        found = await store.documents([Who(controller.id, (key,), ()) for key in keys])
        on_list = [
            (key, document.get("consents", ())) for key, (document, _) in zip(keys, found, strict=True)
            if any(_is_from(one, name) for one in document.get("consents", ()))
        ]  # fmt: skip
        done.on_list += len(on_list)
        letters = [
            OwedLetter(
                controller_id=controller.id, letter_id=_id(key, name), kind="obtained", recipient_key=key,
                due_at=due_at, about={"list": name},
            )
            for key, consents in on_list
            if not (_footers_say_it(consents) and await store.told_in_mail(controller.id, key))
        ]  # fmt: skip
        if not dry:
            done.owed += sum(await asyncio.gather(*map(store.owe, letters)))
        else:
            done.owed += len(letters)
        after, seen = page.after, seen + len(page.people)
        if progress is not None:
            progress(seen)
    return done


def _is_from(consent: Mapping[str, Any], name: str) -> bool:
    return consent["source"] not in OWN_SOURCES and list_named(consent["evidence"]["origin"]) == name


def _footers_say_it(consents: Sequence[Mapping[str, Any]]) -> bool:
    """Mail leaves on our own consent where there is one, and then names nobody else."""
    return all(one["source"] not in OWN_SOURCES for one in consents)


def _id(recipient_key: bytes, name: str) -> bytes:
    """One letter for a person and a list, however often somebody asks for it."""
    return hashlib.sha256(b"obtained\0" + recipient_key + name.encode()).digest()[:16]
