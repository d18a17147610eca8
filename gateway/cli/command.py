"""What every command does alike: options, configuration, store, output, refusals."""

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar

import typer
from typer.core import TyperGroup

from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from gateway.config import Config, Controller, Stream
    from gateway.store.contract import Person, Store
    from suppression.vault import KeyRing

T = TypeVar("T")

ConfigPath = Annotated[
    Path, typer.Option("--config", metavar="FILE", envvar="CONSENTGATE_CONFIG", help="The settings file.")
]
ControllerName = Annotated[
    str | None, typer.Option("--controller", metavar="NAME", help="Whose data; needed when there are several.")
]
Address = Annotated[str, typer.Argument(metavar="ADDR", help="The person's e-mail address.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
DEFAULT_CONFIG = Path("consentgate.toml")


def make_app() -> typer.Typer:
    """A group of commands with plain text errors."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(lambda: None)  # keeps the command's name in the arguments even where it is the only one
    return app


class _Group(TyperGroup):
    """Lists its commands with their whole first sentence, over as many lines as it takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, one.get_short_help_str(limit=sys.maxsize)) for name, one in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def make_group(about: str) -> typer.Typer:
    """Commands that follow a word of their own: `consentgate WORD COMMAND`. The word alone prints the help."""
    return typer.Typer(cls=_Group, help=about, no_args_is_help=True)


def configuration(path: Path) -> "Config":
    """Load the settings; Refused with every problem."""
    from gateway.settings.load import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        raise Refused(str(error)) from None


def controller_of(config: "Config", name: str | None) -> "Controller":
    """The controller named, or the only one there is."""
    known = ", ".join(config.controllers)
    if name is None:
        if len(config.controllers) > 1:
            raise Refused(f"Several controllers: say which with --controller. Known: {known}.")
        return next(iter(config.controllers.values()))
    if name not in config.controllers:
        raise Refused(f"There is no controller {name!r} in {config.path}. Known: {known}.")
    return config.controllers[name]


def controllers_of(config: "Config", name: str | None) -> "list[Controller]":
    """The controller named; without a name all of them."""
    return list(config.controllers.values()) if name is None else [controller_of(config, name)]


def settings_of(path: Path, name: str | None) -> "tuple[Config, Controller]":
    """The settings, and the controller named or the only one there is."""
    config = configuration(path)
    return config, controller_of(config, name)


def stream_of(config: "Config", controller: str | None, name: str) -> "tuple[Controller, Stream]":
    """The stream of a name, and whose it is; Refused where there is none, or several."""
    if controller is not None:
        controller_of(config, controller)
    found = [c for c in config.controllers.values() if controller in (None, c.id) and name in c.streams]
    if not found:
        known = ", ".join(f"{c.id}/{s}" for c in config.controllers.values() for s in c.streams)
        raise Refused(f"There is no stream {name!r}. Known: {known}.")
    if len(found) > 1:
        raise Refused(f"Several controllers have a stream {name!r}: say which with --controller.")
    return found[0], found[0].streams[name]


def known_form(address: str) -> str:
    """An address in the one form in which people are filed."""
    from suppression.address import canonical

    plain = canonical(address)
    if plain is None:
        raise Refused("That is not an e-mail address. Write it as name@example.com.")
    return plain


def new_place(out: Path) -> Path:
    """Where personal data is written to: a file or folder with a name. `-` would make one called so, and is refused."""
    if str(out) == "-":
        raise Misused("--out wants a name: what it holds is for its owner alone, so it is not printed.")
    return out


@contextlib.contextmanager
def new_text(place: Path, encoding: str = "utf-8") -> "Iterator[TextIO]":
    """A new text file for its owner alone, there when the block has ended well. Refused where it cannot be made."""
    from gateway.new_file import Unwritable, new_file

    try:
        with new_file(place) as raw:
            text = io.TextIOWrapper(raw, encoding, newline="")
            yield text
            text.detach()  # which writes what it still holds
    except Unwritable as failed:
        raise Refused(str(failed)) from None


@contextlib.asynccontextmanager
async def opened(config: "Config") -> "AsyncIterator[Store]":
    """The store of this installation, closed again at the end; Refused when it cannot be used."""
    from gateway import app, log
    from gateway.store.contract import StoreUnavailable

    log.configure(level="warning")  # what is done, the command says itself; standard output is for what it found
    try:
        async with app.opened_store(config) as store:
            yield store
    except StoreUnavailable as error:
        raise Refused(f"The database of {config.path} cannot be used: {error}") from None


def key_ring(config: "Config") -> "KeyRing":
    """The keys under which people are filed."""
    from gateway.settings.file_kinds import read_installation_keys
    from suppression.vault import KeyRing

    return KeyRing(read_installation_keys(config.installation_key))


async def person_of(store: "Store", config: "Config", controller_id: str, plain: str) -> "Person":
    """The person of a normalised address as the store knows them, or would file them."""
    from gateway.who import whose

    return (await store.people([whose(key_ring(config), controller_id, plain)]))[0]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's asynchronous part."""
    return asyncio.run(work)


def now() -> datetime:
    """The clock of the commands: aware UTC."""
    return datetime.now(UTC)


def say(text: str) -> None:
    """Say something to a person without disturbing what a machine reads from standard output."""
    print(text, file=sys.stderr)


def out(row: Mapping[str, Any]) -> None:
    """One JSON line; instants in ISO 8601 with zone."""
    print(json.dumps(row, ensure_ascii=False, default=_plain))


def cell(value: object) -> str:
    """A value in a table for people: instants to the minute in UTC, keys in hex, nothing for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.hex()
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else str(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def columns(rows: Sequence[tuple[str, ...]], heads: tuple[str, ...]) -> None:
    """A table for people; where standard output is no terminal, tab-separated."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextlib.contextmanager
def counting_bar(unit: str) -> Iterator[Callable[[str, int, int], None] | None]:
    """A count that moves, where somebody looks at standard error: called with what is counted, done, and total or 0."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    look = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*look, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda what, done, total: shown.update(
            task, description=what or "(everywhere)", completed=done, total=total or None
        )


def password_from_input(prompt: str) -> str:
    """A password from the terminal, without echo; else the first line of standard input. Refused when empty."""
    if sys.stdin.isatty():
        import getpass

        password = getpass.getpass(prompt)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Refused("No password given: type one, or send it as the first line of standard input.")
    return password


def private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read; an existing one is an error."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
