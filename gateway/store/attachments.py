"""Files that prove consents, sealed under the person's key. Functions of a database thread's handles.

The ledger entry says what a file is, in fields that only the person's key opens, and holds the digest of the sealed
bytes in the open: a changed byte shows without any key. When a person is erased the rows go and the key is destroyed.
"""

import hashlib
from collections.abc import Collection, Iterator
from importlib.resources import files

import aiosql

from gateway.store import people
from gateway.store.ahead import new_id
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act
from gateway.store.keys import opened, sealed
from gateway.store.material import Amiss, KeptAttachment, LivingPage, NewAttachment, Said, Unattached
from suppression.vault import Unreadable

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "material.sql"), "sqlite3")


def keep(handles: Handles, new: NewAttachment) -> bytes:
    """Keep a file with its entry in the ledger; its id. Unattached where the person or the consent is not on file."""
    controller_id, recipient_key = new.controller_id, new.recipient_key
    if people.erased(handles, controller_id, recipient_key):
        raise Unattached("this person was erased")
    try:
        secret = handles.keys.person(controller_id, recipient_key)
        document = people.document(handles, secret, controller_id, recipient_key) if secret is not None else {}
    except Unreadable:
        raise Unattached("what is on file about this person cannot be read: see `consentgate doctor`") from None
    if secret is None:
        raise Unattached("nothing is on file about this person; record the consent first")
    known = [record["id"] for record in document.get("consents", ())]
    if new.consent_id is not None and new.consent_id not in known:
        raise Unattached(f"this person has no consent {new.consent_id!r}; on file: {', '.join(known) or 'none'}")
    attachment_id = new_id()
    content = sealed(secret.key, new.content, _attachment_row(controller_id, recipient_key, attachment_id))
    SQL.add_attachment(
        handles.db, controller_id=controller_id, recipient_key=recipient_key, attachment_id=attachment_id,
        at=milliseconds(new.at), content=content,
    )  # fmt: skip
    private = {
        "name": new.name, "media_type": new.media_type, "note": new.note, "consent": new.consent_id, "by": new.by,
        "sha256": hashlib.sha256(new.content).hexdigest(), "size": len(new.content),
    }  # fmt: skip
    public = {"attachment": attachment_id.hex(), "sealed": hashlib.sha256(content).hexdigest()}
    people.record(handles, [
        Act(
            controller_id=controller_id, recipient_key=recipient_key, kind="evidence", public=public, private=private,
            at=new.at,
        )
    ])  # fmt: skip
    return attachment_id


def kept(handles: Handles, controller_id: str, recipient_key: bytes) -> list[KeptAttachment]:
    """A person's attachments, oldest first, as the ledger says. Entries that cannot be read are left out.

    None was kept while their key was lost (`keep`), so that what stood in for it is not asked.
    """
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    found = []
    for said in people.entries_under(handles, controller_id, recipient_key, secret) if secret is not None else ():
        if said.entry.kind != "evidence":
            continue
        try:
            fields = said.fields()
        except (Unreadable, ValueError):
            continue
        attachment_id = bytes.fromhex(fields["attachment"])
        found.append(KeptAttachment(
            attachment_id=attachment_id, at=instant(said.entry.at), name=fields["name"],
            media_type=fields["media_type"], note=fields["note"], consent_id=fields["consent"], by=fields["by"],
            sha256=fields["sha256"], size=fields["size"],
            there=SQL.attachment(handles.db, controller_id=controller_id, attachment_id=attachment_id) is not None,
        ))  # fmt: skip
    return found


def content(handles: Handles, controller_id: str, recipient_key: bytes, attachment_id: bytes) -> bytes | None:
    """The file as it was given; None where it is gone, or was changed."""
    row = SQL.attachment(handles.db, controller_id=controller_id, attachment_id=attachment_id)
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    if row is None or secret is None:
        return None
    return opened(secret.key, row[2], _attachment_row(controller_id, recipient_key, attachment_id))


def gone(handles: Handles, controller_id: str, said: Said) -> Amiss | None:
    """What there would be to say of an entry whose piece is not there; None where it is."""
    if _row(handles, controller_id, said) is not None:
        return None
    return _amiss(said, "is gone, and the person was not erased")


def compare(handles: Handles, controller_id: str, said: Said) -> Iterator[Amiss]:
    """Whether an attachment that is there is what its entry says."""
    row = _row(handles, controller_id, said)
    if row is None:
        return
    recipient_key, at, stored = row
    if not isinstance(stored, bytes) or hashlib.sha256(stored).hexdigest() != said.public.get("sealed"):
        yield _amiss(said, "was changed")
    elif at != said.at:
        yield _amiss(said, "says it was kept at another time")
    else:
        wrapped = handles.keys.wrapped(controller_id, [recipient_key])
        secret = handles.keys.opened(controller_id, wrapped).get(recipient_key)
        if not wrapped:
            yield _amiss(said, "stands under a person who has no key")
        elif secret is not None and secret.subject(recipient_key) != said.subject:
            yield _amiss(said, "was put under another person")


def put_in(handles: Handles, controller_id: str) -> Iterator[Amiss]:
    """Attachments that are in no entry."""
    there = {bytes(row[0]).hex() for row in SQL.all_attachments(handles.db, controller_id=controller_id)}
    if there:
        there -= {row[0] for row in SQL.attachments_in_ledger(handles.db, controller_id=controller_id)}
    for attachment_id in sorted(there):
        text = f"attachment {attachment_id} is in no entry: put in by hand"
        yield Amiss(entry_id=None, seq=None, what="attachment", text=text)


def living(handles: Handles, controller_id: str, subjects: Collection[bytes], after: bytes, n: int) -> LivingPage:
    """Of the next n people who have a key and were not erased, those whose subject is wanted."""
    keys = handles.keys.keys_after(controller_id, after, n)
    found = {
        key: subject
        for key, secret in handles.keys.readable(controller_id, keys).items()
        if (subject := secret.subject(key)) in subjects
    }
    return LivingPage(
        subjects=frozenset(
            subject for key, subject in found.items() if not people.erased(handles, controller_id, key)
        ),
        after=keys[-1] if len(keys) == n else None,
    )  # fmt: skip


def _row(handles: Handles, controller_id: str, said: Said) -> tuple[bytes, int, bytes] | None:
    try:
        attachment_id = bytes.fromhex(str(said.public.get("attachment")))
    except ValueError:
        return None
    row: tuple[bytes, int, bytes] | None = SQL.attachment(
        handles.db, controller_id=controller_id, attachment_id=attachment_id
    )
    return row


def _amiss(said: Said, wrong: str) -> Amiss:
    text = f"attachment {said.public.get('attachment')} {wrong}"
    return Amiss(entry_id=said.entry_id, seq=said.seq, what="attachment", text=text)


def _attachment_row(controller_id: str, recipient_key: bytes, attachment_id: bytes) -> bytes:
    """What a sealed file is bound to."""
    return b"attachment/" + controller_id.encode() + b"/" + recipient_key + attachment_id
