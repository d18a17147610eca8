"""Commands about wordings: what people were shown when they agreed. A group under `consent`."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused
from suppression.evidence import WORDING_BYTES, Choice, Wording, WordingError
from suppression.fields import FactsError, written

if TYPE_CHECKING:
    from gateway.config import Controller
    from gateway.store.material import KeptWording

wording = command.make_group("What people were shown when they agreed, word for word.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The version, as consents name it (wording_version).")]
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@wording.command("add")
def add(
    name: Name,
    file: Annotated[
        Path,
        typer.Option("--file", metavar="FILE", help="The form as shown: .html, .txt, or .json with all of its fields."),
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    language: Annotated[str | None, typer.Option(metavar="TAG", help="Such as nl or fr-BE.")] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What it asked for; may be repeated.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="An unticked box for a purpose, and the words beside it; repeatable."),
    ] = None,
    pre_ticked_box: Annotated[
        list[str] | None, typer.Option(metavar="NAME=TEXT", help="A box that was ticked already; repeatable.")
    ] = None,
    notice_version: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The version of the privacy notice it linked to.")
    ] = None,
    notice_url: Annotated[str | None, typer.Option(metavar="URL", help="Where that notice stood.")] = None,
    as_json: Json = False,
) -> None:
    """Keep a wording. The same again changes nothing; a name that stands for another wording is refused."""
    from gateway.store.material import NameTaken

    loaded, who = command.settings_of(config, controller)
    choices = (
        *(_box(text, "--box", ticked=False) for text in box or ()),
        *(_box(text, "--pre-ticked-box", ticked=True) for text in pre_ticked_box or ()),
        *(Choice(purpose=one, text="", ticked=None) for one in purpose or ()),
    )
    made = _made(name, file, language, choices, notice_version, notice_url)
    _check(made, who)

    async def keep() -> tuple[bytes, bool]:
        async with command.opened(loaded) as store:
            known = await store.wording(who.id, name)
            try:
                return await store.keep_wording(who.id, made, at=command.now()), known is not None
            except NameTaken as taken:
                raise Refused(f"{taken}. What it stands for: consentgate consent wording show {name}") from None

    digest, known = command.run(keep())
    if as_json:
        command.out({"name": name, "digest": digest, "already": known})
    else:
        print(f"{'Was kept already' if known else 'Kept'}: {name}, SHA-256 {digest.hex()}")


def _made(
    name: str, file: Path, language: str | None, choices: tuple[Choice, ...], notice_version: str | None,
    notice_url: str | None,
) -> Wording:  # fmt: skip
    """The wording of a file and the options beside it. A .json file says everything itself."""
    text = _text(file)
    try:
        if file.suffix.lower() == ".json":
            if choices or language or notice_version or notice_url:
                raise Refused(f"{file} says everything itself: leave out the options that describe the form.")
            return Wording.from_dict(name, json.loads(text))
        return Wording(
            name=name, language=language, choices=choices, layout=text,
            layout_type="text/html" if file.suffix.lower() in (".html", ".htm") else "text/plain",
            notice_version=notice_version, notice_url=notice_url,
        )  # fmt: skip
    except json.JSONDecodeError as wrong:
        raise Refused(f"{file}, line {wrong.lineno}: is no JSON: {wrong.msg}.") from None
    except FactsError as wrong:
        raise Refused(f"{file}: {wrong}.") from None
    except WordingError as wrong:
        raise Refused(f"{name}: {wrong}.") from None


def _text(file: Path) -> str:
    try:
        if (size := file.stat().st_size) > 2 * WORDING_BYTES:
            raise Refused(f"{file} has {size} bytes; a wording is at most {WORDING_BYTES}. Keep the form alone.")
        return file.read_text("utf-8-sig")
    except OSError as failed:
        raise Refused(f"{file} cannot be read: {failed.strerror}.") from None
    except UnicodeDecodeError as wrong:
        raise Refused(f"{file} is not UTF-8 at byte {wrong.start}. Save it as UTF-8.") from None


def _box(said: str, option: str, *, ticked: bool) -> Choice:
    purpose, equals, text = said.partition("=")
    if not equals or not purpose.strip() or not text.strip():
        raise Refused(f'{option} {said!r}: write it as PURPOSE=TEXT, such as --box "newsletter=Yes, mail me the news".')
    return Choice(purpose=purpose.strip(), text=text.strip(), ticked=ticked)


def _check(made: Wording, who: "Controller") -> None:
    if unknown := [name for name in made.purposes if name not in who.purposes]:
        raise Refused(f"There is no purpose {unknown[0]!r} at {who.id}. Known: {', '.join(who.purposes)}.")
    if made.language is not None and not _LANGUAGE.fullmatch(made.language):
        raise Refused(f"{made.language!r} is no language tag. Write it as nl, en or fr-BE.")


@wording.command("list")
def list_all(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """Every wording on file."""
    loaded, who = command.settings_of(config, controller)

    async def read() -> "list[KeptWording]":
        found: list[KeptWording] = []
        async with command.opened(loaded) as store:
            while page := await store.wordings(who.id, after=found[-1].wording.name if found else ""):
                found += page
        return found

    found = command.run(read())
    if as_json:
        for one in found:
            command.out(_row(one))
        return
    if not found:
        command.say("No wording is on file. Add one: consentgate consent wording add NAME --file FILE")
        return
    command.columns(
        [
            (
                one.wording.name, one.wording.language or "", ", ".join(one.wording.purposes),
                one.wording.notice_version or "", written(one.first_at), one.digest.hex()[:16],
            )
            for one in found
        ],
        ("name", "language", "purposes", "notice", "kept", "sha-256"),
    )  # fmt: skip


@wording.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The version, or the SHA-256 of the wording.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """One wording: what was shown, word for word."""
    loaded, who = command.settings_of(config, controller)

    async def read() -> "KeptWording | None":
        async with command.opened(loaded) as store:
            found = await store.wording(who.id, name)
            if found is None and re.fullmatch("[0-9a-f]{64}", name):
                found = await store.wording(who.id, bytes.fromhex(name))
            return found

    found = command.run(read())
    if found is None:
        raise Refused(
            f"There is no wording {name!r} at {who.id}. See: consentgate consent wording list; and if it was there: "
            "consentgate ledger verify"
        )
    if as_json:
        command.out(_row(found) | {"layout": found.wording.layout})
        return
    _print(found)


def _print(found: "KeptWording") -> None:
    said = found.wording
    for label, value in (
        ("version", said.name), ("sha-256", found.digest.hex()), ("kept", written(found.first_at)),
        ("language", said.language), ("notice", said.notice_version), ("at", said.notice_url),
    ):  # fmt: skip
        if value is not None:
            print(f"{label + ':':10}{value}")
    for choice in said.choices:
        mark = {None: "asked", False: "[ ]", True: "[x]"}[choice.ticked]
        print(f"{mark} {choice.purpose or 'other'}: {choice.text or '(see the form)'}")
    print(f"\n{said.layout}", end="" if said.layout.endswith("\n") else "\n")


def _row(one: "KeptWording") -> dict[str, Any]:
    said = one.wording
    return {
        "name": said.name, "digest": one.digest, "first_at": one.first_at, "language": said.language,
        "purposes": said.purposes,
        "choices": [{"purpose": c.purpose, "text": c.text, "ticked": c.ticked} for c in said.choices],
        "layout_type": said.layout_type, "notice_version": said.notice_version, "notice_url": said.notice_url,
    }  # fmt: skip
