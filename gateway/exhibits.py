"""What belongs to a person's consents besides their words: wordings shown, files attached, files about bought lists."""

import re
from typing import Any, Final

from gateway.bundle import Bundle
from gateway.store.contract import Person, Store
from gateway.store.material import KeptWording
from gateway.testimony import PersonStory
from suppression.provenance import list_named

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


async def wordings(store: Store, controller_id: str, person: Person) -> list[KeptWording]:
    """What was shown, as far as it is on file: the versions that the consents name."""
    names = dict.fromkeys(c.evidence.wording_version for c in person.standing.consents if c.evidence.wording_version)
    found = [await store.wording(controller_id, name) for name in names]
    return [one for one in found if one is not None]


async def add(bundle: Bundle, store: Store, story: PersonStory) -> None:
    """Add all of it to a proof."""
    _add_wordings(bundle, story)
    await _add_attachments(bundle, store, story)
    await _add_lists(bundle, store, story)


def _add_wordings(bundle: Bundle, story: PersonStory) -> None:
    """The bytes that were hashed, named by their digest, and which name stands for which."""
    for digest, one in {one.digest: one for one in story.wordings}.items():
        bundle.add(f"wordings/{digest.hex()}.json", one.wording.content())
    bundle.add_json(
        "wordings.json", [{"name": x.wording.name, "sha256": x.digest, "first_at": x.first_at} for x in story.wordings]
    )


async def _add_attachments(bundle: Bundle, store: Store, story: PersonStory) -> None:
    """Files as they were given."""
    rows: list[dict[str, Any]] = []
    for one in story.attachments:
        content = await store.attachment(story.controller.id, story.recipient_key, one.attachment_id)
        name = f"attachments/{one.attachment_id.hex()}-{_UNSAFE.sub('_', one.name)[-80:]}"
        rows.append({
            "file": name if content is not None else None, "name": one.name, "sha256": one.sha256, "note": one.note,
            "consent": one.consent_id, "at": one.at, "by": one.by,
        })  # fmt: skip
        if content is not None:
            bundle.add(name, content)
    bundle.add_json("attachments.json", rows)


async def _add_lists(bundle: Bundle, store: Store, story: PersonStory) -> None:
    """Every version of the file about each third party's list that a consent came from (RULES.md 4.1)."""
    names = dict.fromkeys(filter(None, (list_named(one.evidence.origin) for one in story.standing.consents)))
    kept = [one for name in names for one in await store.sources(story.controller.id, name)]
    bundle.add_json("lists.json", [
        {"name": one.source.name, "version": one.source.version, "at": one.at, "file": one.source.to_dict()}
        for one in kept
    ])  # fmt: skip
