"""`consentgate user key`: the keys of programs that call the API."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.store.access import ApiKey

key = command.make_group("Keys of programs that call the API; each is for one controller.")

_NAME_LENGTH = 80


@key.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help='What it is for, as "the shop\'s checkout".')],
    scope: Annotated[
        list[str], typer.Option(metavar="SCOPE", help="What it may do; may be repeated. An unknown one lists them.")
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
) -> None:
    """Make a key. It is printed once, on standard output, and kept nowhere."""
    from gateway.store.access import ApiKey
    from gateway.web.api import keys

    loaded, owner = command.settings_of(config, controller)
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
        raise Refused(f"A name has 1 to {_NAME_LENGTH} printable characters.")
    if wrong := [one for one in scope if one not in keys.SCOPES]:
        known = "\n".join(f"  {one}  {said}" for one, said in keys.SCOPES.items())
        raise Refused(f"There is no scope {wrong[0]!r}. Known:\n{known}")

    async def put() -> tuple[str, bytes]:
        async with command.opened(loaded) as store:
            text, key_id, digest = keys.make(await store.number(owner.id, "controller", owner.id))
            await store.add_api_key(ApiKey(
                controller_id=owner.id, key_id=key_id, name=name.strip(), digest=digest,
                scopes=tuple(dict.fromkeys(scope)), created_at=command.now(),
            ))  # fmt: skip
            return text, key_id

    text, key_id = command.run(put())
    print(text)
    command.say(f"Key {key_id.hex()} of {owner.id}. It is shown this once; put it where the program reads it.")


@key.command("list")
def list_(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """The keys: what each is for and may do, since when, when it was last used."""
    loaded = command.configuration(config)
    owners = command.controllers_of(loaded, controller)

    async def read() -> "list[ApiKey]":
        async with command.opened(loaded) as store:
            return [one for owner in owners for one in await store.api_keys(owner.id)]

    found = command.run(read())
    if as_json:
        for one in found:
            command.out({
                "controller": one.controller_id, "key": one.key_id, "name": one.name, "scopes": one.scopes,
                "created_at": one.created_at, "last_used_at": one.last_used_at, "revoked_at": one.revoked_at,
            })  # fmt: skip
        return
    rows = [
        (one.key_id.hex(), one.controller_id, one.name, " ".join(one.scopes), _day(one), _state(one)) for one in found
    ]
    command.columns(rows, ("key", "controller", "name", "scopes", "made", "state"))


@key.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="As `list` shows it.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
) -> None:
    """End a key at once; it stays in the list."""
    loaded, owner = command.settings_of(config, controller)
    try:
        raw = bytes.fromhex(key_id)
    except ValueError:
        raise Refused(f"{key_id!r} is not the id of a key. See: consentgate user key list") from None

    async def end() -> bool:
        async with command.opened(loaded) as store:
            return await store.revoke_api_key(owner.id, raw, command.now())

    if not command.run(end()):
        raise Refused(f"{owner.id} has no key {key_id} in use. See: consentgate user key list")
    command.say(f"Revoked {key_id}.")


def _day(one: "ApiKey") -> str:
    return one.created_at.date().isoformat()


def _state(one: "ApiKey") -> str:
    if one.revoked_at is not None:
        return f"revoked {one.revoked_at.date().isoformat()}"
    return "never used" if one.last_used_at is None else f"last used {one.last_used_at.date().isoformat()}"
