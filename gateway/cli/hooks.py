"""`consentgate hook`: the addresses at which providers tell of bounces, complaints and unsubscribes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.store.hooked import Hook

app = command.make_app()
hooks = command.make_group("Addresses at which providers tell of bounces, complaints and unsubscribes.")
app.add_typer(hooks, name="hook")

COLUMNS = ("hook", "controller", "provider", "made", "last", "state", "url")
_TOPIC = "arn:aws:sns:REGION:ACCOUNT:NAME"
_KEYS = {
    "sendgrid": "the verification key that SendGrid shows under Mail Settings, Signed Event Webhook",
    "mailgun": "the HTTP webhook signing key that Mailgun shows under API Security",
    "postal": "the record that `postal default-dkim-record` prints, or the public key in PEM",
}

Provider = Annotated[
    str, typer.Option("--provider", metavar="NAME", help="ses, sendgrid, mailgun, postmark or postal.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Public key or secret of the provider; - for standard input."),
]
Topics = Annotated[
    list[str] | None, typer.Option("--topic", metavar="ARN", help="For ses: the SNS topic; may be repeated.")
]
Sha1 = Annotated[bool, typer.Option("--sha1", help="For a Postal before 3.3, whose signatures are over SHA-1 alone.")]


@hooks.command("add")
def add(
    provider: Provider,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    key: KeyFile = None,
    topic: Topics = None,
    sha1: Sha1 = False,
    as_json: Json = False,
) -> None:
    """Make an address. It is printed, and for Postmark the user and password, which are shown this once."""
    from gateway import hook_keys
    from gateway.hooks.told import PROVIDERS
    from gateway.record import staff_acts

    known = next((one for one in PROVIDERS if one == provider), None)
    if known is None:
        raise Misused(f"There is no provider {provider!r}. Known: {', '.join(PROVIDERS)}.")
    loaded, owner = command.settings_of(config, controller)
    shown, credentials = _credentials(provider, key, topic or [], sha1=sha1)
    now = command.now()
    hook, opaque = hook_keys.make(command.key_ring(loaded), owner.id, known, credentials, now=now)

    async def put() -> None:
        async with command.opened(loaded) as store:
            await store.add_hook(hook)
            for note in staff_acts(
                [owner.id], "hook_added", by="command line", at=now, hook=hook.hook_id.hex(), provider=provider
            ):  # fmt: skip
                await store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)

    command.run(put())
    row = {"hook": hook.hook_id.hex(), "url": hook_keys.url(loaded.public_url, provider, opaque), **shown}
    if as_json:
        command.out(row)
    else:
        for name in ("url", *shown):
            print(f"{name} {row[name]}")
    command.say(f'Hook {row["hook"]} of {owner.id}. What to do with it: docs/operator.md, "What a provider tells".')


def _credentials(
    provider: str, key: Path | None, topics: list[str], *, sha1: bool
) -> tuple[dict[str, str], dict[str, Any]]:  # fmt: skip
    """What is shown once, and what is kept."""
    from gateway import hook_keys

    if (topics and provider != "ses") or (sha1 and provider != "postal") or (key and provider not in _KEYS):
        raise Misused("--topic is for ses, --sha1 for postal, --key for sendgrid, mailgun and postal.")
    if provider == "ses":
        if not topics or not all(one.startswith("arn:aws") and one.count(":") == 5 for one in topics):
            raise Misused(f"Name the SNS topic that SES writes to: --topic {_TOPIC}")
        return {}, {"topics": topics}
    if provider == "postmark":
        username, password, kept = hook_keys.login()
        return {"username": username, "password": password}, kept
    if key is None:
        raise Misused(f"Give {_KEYS[provider]}: --key FILE, or --key - for standard input.")
    return {}, _checked(provider, _text_of(key), sha1=sha1)


def _text_of(key: Path) -> str:
    try:
        text = sys.stdin.read(65_536) if str(key) == "-" else key.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise Refused(f"{key} cannot be read: {failed}") from None
    if not text.strip():
        raise Refused(f"{key} is empty.")
    return text.strip()


def _checked(provider: str, text: str, *, sha1: bool) -> dict[str, Any]:
    """The key, where it is one."""
    from gateway.hooks import postal, sendgrid

    if provider == "mailgun":
        if not text.isascii() or not text.isprintable() or " " in text:
            raise Refused(f"That is not one line of plain characters. Give {_KEYS[provider]}.")
        return {"signing_key": text}
    try:
        (sendgrid if provider == "sendgrid" else postal).public_key(text)
    except ValueError:
        raise Refused(f"That is no public key of {provider}. Give {_KEYS[provider]}.") from None
    return {"public_key": text, "sha1": sha1} if provider == "postal" else {"public_key": text}


@hooks.command("list")
def list_(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """The addresses: for whom, since when, and when a provider last told something."""
    loaded = command.configuration(config)
    owners = command.controllers_of(loaded, controller)

    async def read() -> "list[Hook]":
        async with command.opened(loaded) as store:
            return [one for owner in owners for one in await store.hooks(owner.id)]

    rows = [_row(loaded, one) for one in command.run(read())]
    if as_json:
        for row in rows:
            command.out(row)
    elif rows:
        command.columns([tuple(command.cell(row[name]) for name in COLUMNS) for row in rows], COLUMNS)
    else:
        command.say("There are no hooks. Make one: consentgate hook add --provider NAME")


def _row(config: "Config", one: "Hook") -> dict[str, Any]:
    from gateway import hook_keys

    said = hook_keys.opened(command.key_ring(config), one)
    state = "revoked" if one.revoked_at is not None else "cannot be opened" if said is None else "in use"
    shown = hook_keys.url(config.public_url, one.provider, said["id"]) if said is not None else None
    return {
        "hook": one.hook_id.hex(), "controller": one.controller_id, "provider": one.provider, "made": one.created_at,
        "last": one.last_at, "state": state, "url": shown,
    }  # fmt: skip


@hooks.command("revoke")
def revoke(
    hook: Annotated[str, typer.Argument(metavar="HOOK", help="As `list` shows it.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
) -> None:
    """End an address at once: it is answered 404. It stays in the list."""
    from gateway.record import staff_acts

    loaded, owner = command.settings_of(config, controller)
    try:
        hook_id = bytes.fromhex(hook)
    except ValueError:
        raise Refused(f"{hook!r} is no hook. See: consentgate hook list") from None

    async def end() -> bool:
        async with command.opened(loaded) as store:
            now = command.now()
            done = await store.revoke_hook(owner.id, hook_id, now)
            notes = staff_acts([owner.id], "hook_revoked", by="command line", at=now, hook=hook_id.hex())
            for note in notes if done else ():
                await store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)
            return done

    if not command.run(end()):
        raise Refused(f"{owner.id} has no hook {hook} in use. See: consentgate hook list")
    command.say(f"Revoked {hook}.")
