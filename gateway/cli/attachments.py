"""Commands about files that prove a consent: a scan of a form, a recording, a screenshot. In the group `consent`."""

import mimetypes
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, Address, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused
from suppression.fields import written

if TYPE_CHECKING:
    from gateway.store.material import KeptAttachment

MOST_BYTES: Final = 10_000_000
NOTE_LENGTH: Final = 1000


def attach(
    address: Address,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scan, a recording, a screenshot; at most 10 MB.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    consent: Annotated[
        str | None, typer.Option(metavar="ID", help="The consent it proves, as `person show` names it.")
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What it shows.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who adds it.")] = "command line",
    as_json: Json = False,
) -> None:
    """Keep a file that proves a consent, sealed under the person's key. It goes when the person is erased."""
    from gateway.store.material import NewAttachment, Unattached

    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)
    if len(note) > NOTE_LENGTH:
        raise Refused(f"--note has {len(note)} characters; {NOTE_LENGTH} at most. Put the rest into the file.")
    content = _read(file)
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"

    async def keep() -> bytes:
        async with command.opened(loaded) as store:
            person = await command.person_of(store, loaded, who.id, plain)
            return await store.attach(NewAttachment(
                controller_id=who.id, recipient_key=person.recipient_key, at=command.now(), name=file.name,
                media_type=media_type, note=note.strip(), consent_id=consent, by=by.strip() or "command line",
                content=content,
            ))  # fmt: skip

    try:
        attachment_id = command.run(keep())
    except Unattached as wrong:
        raise Refused(f"{file} was not kept: {wrong}.") from None
    if as_json:
        command.out({"id": attachment_id, "name": file.name, "media_type": media_type, "size": len(content)})
    else:
        print(f"Kept {file.name} ({len(content)} bytes, {media_type}) as {attachment_id.hex()}.")


def list_attachments(
    address: Address,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the files there; ones that are there stay.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The files that prove a person's consents. The look is written to the ledger."""
    from gateway.record import looked

    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)
    if out is not None:
        command.new_place(out)
    lost = 0

    async def show() -> "list[tuple[KeptAttachment, Path | None]]":
        found: list[tuple[KeptAttachment, Path | None]] = []
        nonlocal lost
        async with command.opened(loaded) as store:
            person = await command.person_of(store, loaded, who.id, plain)
            if person.seen:
                await looked(store, who.id, [person.recipient_key], by="command line", now=command.now())
            for kept in await store.attachments(who.id, person.recipient_key):
                path = None
                if out is not None:
                    content = await store.attachment(who.id, person.recipient_key, kept.attachment_id)
                    path = None if content is None else _write(out, kept, content)
                    lost += content is None
                found.append((kept, path))
        return found

    for kept, path in command.run(show()):
        if as_json:
            command.out({
                "id": kept.attachment_id, "at": kept.at, "name": kept.name, "media_type": kept.media_type,
                "size": kept.size, "sha256": kept.sha256, "consent": kept.consent_id, "note": kept.note,
                "by": kept.by, "there": kept.there, "file": None if path is None else str(path),
            })  # fmt: skip
        else:
            said = f"{kept.attachment_id.hex()}  {written(kept.at)}  {kept.size:>9}  {kept.name}"
            print(said + (f"  {kept.note}" if kept.note else "") + (f"  -> {path}" if path is not None else ""))
    if lost:
        raise Refused(f"{lost} of them are gone or were changed. See: consentgate ledger verify")


def _read(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise Refused(f"{file} has {size} bytes; {MOST_BYTES} at most. Scan it at a lower resolution, or split it.")
        content = file.read_bytes()
    except OSError as failed:
        raise Refused(f"{file} cannot be read: {failed.strerror}.") from None
    if not content or len(content) > MOST_BYTES:
        raise Refused(f"{file} is empty, or is no plain file.")
    return content


def _write(out: Path, kept: "KeptAttachment", content: bytes) -> Path:
    """The file under a name that leads nowhere else, readable by the owner only."""
    safe = re.sub(r"[^\w.-]+", "_", kept.name).lstrip(".") or "file"
    path = out / f"{kept.attachment_id.hex()[-12:]}-{safe[-100:]}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return path
        command.private(path, content)
    except OSError as failed:
        raise Refused(f"{path} cannot be written: {os.strerror(failed.errno or 0)}.") from None
    return path
