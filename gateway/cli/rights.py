"""Commands about what a person may ask: restrict and lift, rectify, export. They belong to the group `person`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, Address, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.config import Config, Controller
    from gateway.store.contract import Store
    from suppression.vault import KeyRing

BY = "command line"
Scope = Literal["all", "marketing", "purpose"]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed with the person's entries.")]
PurposeName = Annotated[str | None, typer.Option("--purpose", metavar="NAME", help="With scope purpose: which one.")]


def add_to(person: typer.Typer) -> None:
    """Make these commands part of the group."""
    for work in (export, restrict, announce, lift, rectify):
        person.command(work.__name__)(work)


def export(
    address: Address,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip|DIR", help="Where to; it must not exist yet.")],
    language: Annotated[
        Literal["nl", "en", "fr", "de"] | None, typer.Option("--language", help="Of the page; else the person's.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Hand out all that is on file about a person, and what they may take along; GDPR articles 15 and 20.

    A page to read, the same as JSON, and JSON and CSV of what the person provided. The look is written to the ledger.
    """
    from gateway.disclose import hand_out
    from gateway.words import Words

    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)
    if command.new_place(out).exists():
        raise Refused(f"{out} exists. Name a new file or folder.")
    done = _run(
        loaded,
        lambda store, ring: hand_out(
            store, loaded, who, ring, Words.load(), plain, language=language, by=BY, now=command.now()
        ),
    )
    try:
        _write(out, done.files)
    except OSError as failed:
        raise Refused(f"{out} cannot be written: {failed.strerror}. Name a place that can be.") from None
    if as_json:
        command.out({
            "controller": who.id, "out": str(out), "files": list(done.files), "known": done.known,
            "readable": done.readable,
        })  # fmt: skip
    else:
        print(f"{out}: {', '.join(done.files)}")
    if not done.known:
        command.say("Nothing is on file about this address at this controller; the files say so.")
    if not done.readable:
        command.say("A part of it cannot be read now and is missing: see `consentgate ledger rebuild --check`.")
    command.say("Only its owner can read it. Hand it over on a way that fits, and remove it then.")


def _write(out: Path, files: "Mapping[str, bytes]") -> None:
    """Files in a new folder, or in a new ZIP where the name ends so; readable by the owner only."""
    if out.suffix.lower() != ".zip":
        out.mkdir(mode=0o700)
        for name, data in files.items():
            command.private(out / name, data)
        return
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as book:
        for name, data in files.items():
            book.writestr(name, data)
    command.private(out, packed.getvalue())


def restrict(
    address: Address,
    reason: Reason,
    scope: Annotated[Scope, typer.Option("--scope", help="What may not happen.")] = "all",
    purpose: PurposeName = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Restrict processing: what is on file is stored and not used, until that is lifted; GDPR article 18.

    Scope all also stops mail that is no marketing, unless it is a mandatory notice or has an exemption.
    """
    from gateway.amend import restrict as carry_out

    loaded, who = command.settings_of(config, controller)
    _check(who, scope, purpose)
    plain = command.known_form(address)
    done = _run(
        loaded,
        lambda store, ring: carry_out(
            store, ring, who.id, plain, scope=scope, purpose=purpose, reason=_reason(reason), by=BY, now=command.now()
        ),
    )
    if as_json:
        command.out({
            "controller": who.id, "scope": done.scope, "purpose": done.purpose, "from": done.since,
            "already": done.already,
        })  # fmt: skip
        return
    what = done.scope if done.purpose is None else f"purpose {done.purpose}"
    print(f"Restricted at {who.id} since {done.since}{' (before)' if done.already else ''}: {what}.")
    print("Before you lift it, tell the person: consentgate person announce ADDR --not-before INSTANT,")
    print("or in your own way; then: consentgate person lift ADDR --told-at INSTANT --reason TEXT")


def announce(
    address: Address,
    not_before: Annotated[
        str,
        typer.Option("--not-before", metavar="INSTANT", help="When it ends at the earliest, with zone."),
    ],
    scope: Annotated[Scope | None, typer.Option("--scope", help="Only restrictions of this scope.")] = None,
    purpose: PurposeName = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Have the person told by mail that a restriction will be lifted; GDPR article 18(3). `person lift` knows of it.

    The running gateway writes the letter within seconds, in the person's language; the ledger says when.
    """
    from gateway.amend import announce as carry_out

    loaded, who = command.settings_of(config, controller)
    plain, day = command.known_form(address), instant_of(not_before, "--not-before")
    done = _run(
        loaded,
        lambda store, ring: carry_out(
            store, ring, who.id, plain, scope=scope, purpose=purpose, not_before=day, now=command.now()
        ),
    )
    for one in done:
        if as_json:
            command.out({"controller": who.id, "scope": one.scope, "purpose": one.purpose, "from": one.since})
        else:
            what = one.scope if one.purpose is None else f"purpose {one.purpose}"
            print(f"To be told at {who.id}: {what}, restricted since {one.since}. Then: consentgate person lift ADDR")


def lift(
    address: Address,
    reason: Reason,
    told_at: Annotated[
        str | None,
        typer.Option(
            "--told-at", metavar="INSTANT", help="When the person was told, with zone. Absent: by our letter."
        ),
    ] = None,
    scope: Annotated[Scope | None, typer.Option("--scope", help="Only restrictions of this scope.")] = None,
    purpose: PurposeName = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Lift restrictions, once the person was told; GDPR article 18(3). Without --scope: all that are in force."""
    from gateway.amend import lift as carry_out

    loaded, who = command.settings_of(config, controller)
    plain, told = command.known_form(address), None if told_at is None else instant_of(told_at, "--told-at")
    done = _run(
        loaded,
        lambda store, ring: carry_out(
            store, ring, who.id, plain, scope=scope, purpose=purpose, reason=_reason(reason), told_at=told, by=BY,
            now=command.now(),
        ),
    )  # fmt: skip
    for one in done:
        if as_json:
            command.out({"controller": who.id, "scope": one.scope, "purpose": one.purpose, "from": one.since})
        else:
            what = one.scope if one.purpose is None else f"purpose {one.purpose}"
            print(f"Lifted at {who.id}: {what}, restricted since {one.since}. Opt-outs stay in force.")


def rectify(
    address: Address,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="The right value; empty: not known. Repeatable."),
    ] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="ADDR", help="The person's right address.")] = None,
    works: Annotated[
        str | None,
        typer.Option("--works-again", metavar="REASON", help="The address takes mail: the mark undeliverable goes."),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Correct or complete what is stored about a person; GDPR article 16.

    NAME is name, external_id, language, country, billing_country, birth_date, kind or address_kind. With a new address
    everything on file moves there; opt-outs hold for both, and the old one gets no marketing any more. An address that
    bounced and works again is mailed again; so is one whose owner confirms a sign-up from it.
    """
    from gateway.amend import move
    from gateway.amend import rectify as carry_out
    from gateway.settle import works_again

    loaded, who = command.settings_of(config, controller)
    plain, said = command.known_form(address), _said(changes or [])
    moving = None if email is None else command.known_form(email)
    if not said and moving is None and not works:
        raise Misused("Nothing to correct: say --set NAME=VALUE, --email ADDR or --works-again REASON.")
    if moving == plain:
        raise Refused("The new address is the old one; letter case makes no difference.")

    async def work(store: "Store", ring: "KeyRing") -> tuple[list[str], dict[str, int]]:
        changed = await carry_out(store, ring, who.id, plain, said, by=BY, now=command.now()) if said else []
        if works and await works_again(store, ring, who.id, plain, by=BY, why=works, now=command.now()):
            changed.append("undeliverable")
        counts = await move(store, ring, who.id, plain, moving, by=BY, now=command.now()) if moving else {}
        return changed, counts

    changed, counts = _run(loaded, work)
    if as_json:
        command.out({"controller": who.id, "changed": changed, "moved": counts or None})
        return
    if said or works:
        print(f"Corrected at {who.id}: {', '.join(changed) or 'nothing was different'}.")
    if counts:
        print(
            f"Moved to the new address: {counts['consents']} consents, {counts['sales']} sales, {counts['opt_outs']} "
            f"opt-outs, {counts['restrictions']} restrictions. The old address gets no marketing any more."
        )
        print("A confirmation proves a mailbox: consents with double opt-in have to be confirmed from the new one.")
    print("Tell those who got the data from you that it was corrected (GDPR art. 19).")


def _run(loaded: "Config", work: "Callable[[Store, KeyRing], Awaitable[Any]]") -> Any:
    from gateway.amend import Refusal

    async def go() -> Any:
        async with command.opened(loaded) as store:
            return await work(store, command.key_ring(loaded))

    try:
        return command.run(go())
    except Refusal as refusal:
        raise Refused(f"Not done: {refusal}.") from None


def _check(who: "Controller", scope: Scope, purpose: str | None) -> None:
    if (scope == "purpose") != (purpose is not None):
        raise Refused("Scope purpose and --purpose NAME go together; the other scopes cover every purpose.")
    if purpose is not None and purpose not in who.purposes:
        raise Refused(f"There is no purpose {purpose!r} at {who.id}. Known: {', '.join(who.purposes)}.")


def _reason(text: str) -> str:
    if not text.strip():
        raise Refused("--reason is empty. Say why; it is kept with the person's entries.")
    return text.strip()


def instant_of(text: str, name: str) -> datetime:
    """What an option says as an instant; Refused names the option."""
    from gateway.files.cell import BadCell, instant

    try:
        return datetime.fromisoformat(instant(text.strip()))
    except BadCell as bad:
        raise Refused(f"{name} {bad}") from None


def _said(changes: list[str]) -> dict[str, str]:
    from gateway.amend import CORRECTED

    said = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name.strip() not in CORRECTED:
            raise Refused(f"--set wants NAME=VALUE, with a NAME of {', '.join(CORRECTED)}.")
        said[name.strip()] = value
    return said
