"""The command `rules whatif`: what a draft pack or other settings would have decided."""

import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.weigh import Scales
    from gateway.what_if import Changed, Comparison, Turn
    from suppression.jurisdiction import PackBook


def whatif(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    pack: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A draft pack, as if it had been in force all the time; may be repeated."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting, as controllers.acme.require_opt_in=true; may be repeated."
        ),
    ] = None,
    other: Annotated[
        Path | None, typer.Option("--draft", metavar="FILE", help="A whole settings file instead.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How far back.")] = 30,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show sample addresses in full.")] = False,
    as_json: Json = False,
) -> None:
    """Make the decisions of the last days again under a draft, and show what would have come out otherwise.

    Changes nothing. What the present rules do not reproduce is left out and counted: the facts are gone, or were
    others. --set follows a setting of the file, be it of the present one or of --draft.
    """
    if not (pack or settings or other):
        raise Misused("Say what is different: --pack FILE, --set KEY=VALUE, or --draft FILE.")
    from gateway import what_if as story
    from gateway.cli.simulate import bar

    present = command.configuration(config)
    draft = _draft(other or config, [_change(text) for text in settings or []])
    draft = replace(draft, packs=_with(draft.packs, pack or []))
    names = [one.id for one in command.controllers_of(present, controller)]
    found: dict[str, Comparison] = {}

    async def compare() -> None:
        now = command.now()
        ring = command.key_ring(present)
        async with command.opened(present) as store:
            with bar(unit="decisions") as progress:
                for name in names:
                    await story.what_if(
                        store, _laid(present), _laid(draft), ring, name, since=now - timedelta(days=days), upto=now,
                        comparison=found.setdefault(name, story.Comparison()), progress=progress,
                    )  # fmt: skip

    command.run(compare())
    for name, comparison in found.items():
        if as_json:
            command.out(_as_json(name, comparison, addresses))
        else:
            _print(name, comparison, days, addresses)


def _laid(config: "Config") -> "tuple[Config, Scales]":
    from gateway.keys import signers
    from gateway.weigh import Scales

    return config, Scales(config, frozenset(signers(config)))


def _change(text: str) -> tuple[str, Any]:
    """`a.b.c=VALUE` as a dotted path and a value; VALUE is TOML, or plain text where it is none."""
    key, found, value = text.partition("=")
    if not found or not key.strip():
        raise Refused(f"--set {text}: write it as KEY=VALUE, for example controllers.acme.require_opt_in=true.")
    from suppression.toml_lines import parsed

    try:
        return key.strip(), parsed(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _draft(path: Path, changes: list[tuple[str, Any]]) -> "Config":
    """The settings as they would be; Refused with every problem."""
    from gateway.settings.load import ConfigError, load

    try:
        return load(path, changes=dict(changes))
    except ConfigError as error:
        raise Refused(str(error)) from None


def _with(book: "PackBook", drafts: list[Path]) -> "PackBook":
    """The book with each draft as the only version of its pack."""
    from gateway.packs import read_text
    from suppression.jurisdiction import PackBook, baseline, laxer_in, pack_name
    from suppression.pack import PackError, read_pack

    versions = dict(book.versions)
    for file in drafts:
        try:
            read = read_pack(str(file), read_text(file), own=True)
        except PackError as error:
            raise Refused(str(error)) from None
        if (laxer := laxer_in(read, book.versions)) and not read.motivation:
            base = pack_name(baseline(read, book.versions))
            command.say(f"{file} is laxer than {base} in {', '.join(laxer)}: to be used it needs a motivation.")
        versions[read.code] = (read,)
    return PackBook(versions=versions)


def _as_json(name: str, found: "Comparison", addresses: bool) -> dict[str, Any]:
    return {
        "controller": name, "decisions": found.looked_at, "facts_gone": found.gone,
        "not_reproduced": sum(found.unlike.values()), "not_reproduced_by_code": dict(found.unlike.most_common()),
        "not_in_draft": found.dropped, "same": found.same, "allowed_now": found.allowed_then,
        "allowed_under_draft": found.allowed,
        "changes": [
            {
                "stream": turn.stream, "from": turn.old, "to": turn.new, "decisions": changed.decisions,
                "people": len(changed.people), "samples": _samples(changed, addresses),
            }
            for turn, changed in _sorted(found)
        ],
    }  # fmt: skip


def _sorted(found: "Comparison") -> "list[tuple[Turn, Changed]]":
    return sorted(found.turns.items(), key=lambda item: (-item[1].decisions, item[0]))


def _samples(changed: "Changed", addresses: bool) -> list[dict[str, Any]]:
    from suppression.address import masked

    return [
        {
            "at": one.at, "message_id": str(UUID(bytes=one.message_id)), "copy_no": one.copy_no,
            "recipient": None if one.address is None else one.address if addresses else masked(one.address),
        }
        for one in changed.samples
    ]  # fmt: skip


def _print(name: str, found: "Comparison", days: int, addresses: bool) -> None:
    from gateway.what_if import MOST_PEOPLE

    print(f"{name}: {found.looked_at:,} decisions of the last {days} days.")
    compared = found.looked_at - found.gone - found.dropped - sum(found.unlike.values())
    if found.gone:
        print(f"{found.gone:>10,}  left out: the facts are no longer there (erased, or the stream is gone)")
    for code, count in found.unlike.most_common():
        print(f"{count:>10,}  left out: {code} then, and not under the present rules (facts or settings changed)")
    if found.dropped:
        print(f"{found.dropped:>10,}  left out: the draft has no such stream")
    print(f"{compared:>10,}  compared: {found.allowed_then:,} allowed now, {found.allowed:,} under the draft")
    for turn, changed in _sorted(found):
        people = f"{len(changed.people):,}{'+' if len(changed.people) >= MOST_PEOPLE else ''}"
        noun = "person" if people == "1" else "people"
        print(f"{changed.decisions:>10,}  {turn.stream}: {turn.old} -> {turn.new} ({people} {noun})")
        shown = dict.fromkeys(one["recipient"] or "(gone)" for one in _samples(changed, addresses))
        print(f"{'':12}e.g. {', '.join(shown)}")
    if compared and not found.turns:
        print(f"{'':12}Nothing would have come out otherwise.")
