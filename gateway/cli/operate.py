"""Commands for the machine's operator: staff users, keys of the API, migrations."""

import re
from typing import Annotated

import typer

from gateway.cli import command
from gateway.cli.api_keys import key
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, Json
from gateway.cli.refusal import Refused
from gateway.config import Config
from gateway.store.evidence import Note
from gateway.store.staff import Staff

ROLES = ("submitter", "marketer", "privacy", "operator", "auditor", "administrator")

app = command.make_app()
user = command.make_group("Staff who may sign in to the web pages.")
app.add_typer(user, name="user")
user.add_typer(key, name="key")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]


@user.command("add")
def add(
    name: Name,
    role: Annotated[list[str], typer.Option(metavar="ROLE", help=f"May be repeated: {', '.join(ROLES)}.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be repeated; absent: all controllers.")
    ] = None,
) -> None:
    """Add a person. The password is typed, or read from standard input's first line."""
    from gateway import password

    loaded = command.configuration(config)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise Refused(f"{name!r} cannot be a name. Use letters, digits, dot, underscore and hyphen, at most 64.")
    if wrong := [one for one in role if one not in ROLES]:
        raise Refused(f"There is no role {wrong[0]!r}. Known: {', '.join(ROLES)}.")
    controllers = tuple(command.controller_of(loaded, one).id for one in controller or ())
    hashed = password.hashed(command.password_from_input(f"Password for {name}: "))
    staff = Staff(name=name, password_hash=hashed, roles=tuple(dict.fromkeys(role)), controllers=controllers)

    async def put() -> None:
        async with command.opened(loaded) as store:
            if await store.staff(name) is not None:
                raise Refused(f"{name} is there already. Change the password with: consentgate user password {name}")
            await store.put_staff(staff, command.now(), _note(loaded, staff, "user added", roles=list(staff.roles)))

    command.run(put())
    command.say(f"Added {name}.")


@user.command("list")
def list_(config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Who may sign in, as what, for which controllers."""
    loaded = command.configuration(config)

    async def read() -> list[Staff]:
        async with command.opened(loaded) as store:
            return await store.all_staff()

    found = command.run(read())
    if as_json:
        for one in found:
            command.out({"name": one.name, "roles": one.roles, "controllers": one.controllers})
    else:
        rows = [(one.name, " ".join(one.roles), " ".join(one.controllers) or "all") for one in found]
        command.columns(rows, ("name", "roles", "controllers"))


@user.command("password")
def change_password(name: Name, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Give a person another password: typed, or read from standard input's first line."""
    from dataclasses import replace

    from gateway import password

    loaded = command.configuration(config)
    hashed = password.hashed(command.password_from_input(f"New password for {name}: "))

    async def put() -> None:
        async with command.opened(loaded) as store:
            staff = await store.staff(name)
            if staff is None:
                raise Refused(f"There is no user {name}. See: consentgate user list")
            changed = replace(staff, password_hash=hashed)
            await store.put_staff(changed, command.now(), _note(loaded, staff, "password changed"))

    command.run(put())
    command.say(f"Changed the password of {name}.")


@user.command("remove")
def remove(name: Name, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Remove a person; what they did stays in the ledger."""
    loaded = command.configuration(config)

    async def take() -> bool:
        async with command.opened(loaded) as store:
            staff = await store.staff(name)
            return staff is not None and await store.remove_staff(name, _note(loaded, staff, "user removed"))

    if not command.run(take()):
        raise Refused(f"There is no user {name}. See: consentgate user list")
    command.say(f"Removed {name}.")


def _note(config: Config, staff: Staff, act: str, **more: object) -> list[Note]:
    """What was done to a member of staff, for the ledgers of the controllers they may see."""
    from gateway.record import staff_acts

    controllers = staff.controllers or tuple(config.controllers)
    return staff_acts(
        controllers, act, by="command line", at=command.now(), private={"user": staff.name}, **more
    )  # fmt: skip


@user.command("hash")
def hash_() -> None:
    """Print the argon2 hash of a password, for the password_hash of an SMTP login."""
    from gateway import password

    print(password.hashed(command.password_from_input("Password: ")))


@app.command()
def migrate(
    config: ConfigPath = DEFAULT_CONFIG,
    source: Annotated[
        str | None, typer.Option("--from", metavar="KIND", help="What the data is in now: sqlite. With --to: move it.")
    ] = None,
    target: Annotated[str | None, typer.Option("--to", metavar="KIND", help="Where it is to go: postgresql.")] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="With --to: an empty database, postgresql://USER@HOST/NAME.")
    ] = None,
    keys_database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With --to: another one for the keys, or the file they are in."),
    ] = None,
) -> None:
    """Bring the database to this version; a copy of the old one is kept beside it. Stop the gateway first.

    With --from sqlite --to postgresql: move a whole installation to a server, and set database.url and keys.database.
    The files stay as they are.
    """
    if source is not None or target is not None or database is not None or keys_database is not None:
        from gateway.cli import moving

        moving.move(config, source, target, database, keys_database)
        return
    from gateway import app as composition
    from gateway.store.migrate import MigrationFailed

    loaded = command.configuration(config)
    try:
        reached = composition.migrate_store(loaded)
    except (OSError, MigrationFailed) as failed:
        raise Refused(f"Not migrated: {failed}.") from None
    if reached:
        command.say(f"The database is now of version {reached[-1]}.")
    else:
        command.say("The database has this version's tables; nothing to do.")
