"""Commands about the tamper-evident ledger: verify, head, rebuild, export, verifier."""

import json
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused
from gateway.config import Config
from suppression.fields import written

if TYPE_CHECKING:
    from gateway.head_mail import HeadMail
    from gateway.prove import Rebuilt, Verified
    from gateway.store.contract import Store
    from gateway.store.evidence import Difference, KeptHead
    from suppression.chain_check import Finding
    from suppression.vault import KeyRing

app = command.make_app()
ledger = command.make_group("The tamper-evident record of what people and staff did about consent.")
app.add_typer(ledger, name="ledger")

SHOWN = 1000
"""Findings told per controller; all of them count."""


@ledger.command("verify")
def verify(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    head: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Heads kept elsewhere, as `ledger head --json` printed them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every chain: exit code 1 names each entry that was changed, moved, put in or removed."""
    from gateway import prove

    loaded = command.configuration(config)
    keys = prove.head_keys(command.key_ring(loaded))
    outside = [one for file in head or () for one in _heads_of(file)]
    results: list[Verified] = []

    async def check() -> None:
        async with command.opened(loaded) as store:
            with command.counting_bar("entries") as progress:
                for name in await _ledgers(store, loaded, controller, outside):
                    result = prove.Verified(controller_id=name)
                    results.append(result)
                    async for finding in prove.verify(
                        store, keys, name, result, clock=command.now, outside=outside, progress=progress
                    ):
                        if result.findings <= SHOWN:
                            _show_finding(finding, as_json)

    command.run(check())
    for result in results:
        _show_verified(result, as_json)
    if any(result.findings for result in results):
        raise typer.Exit(1)


def verified(loaded: Config) -> bool:
    """Whether every ledger is whole; findings are shown."""
    from gateway import prove

    keys = prove.head_keys(command.key_ring(loaded))
    results: list[Verified] = []

    async def check() -> None:
        async with command.opened(loaded) as store:
            with command.counting_bar("entries") as progress:
                for name in await _ledgers(store, loaded, None, ()):
                    results.append(prove.Verified(controller_id=name))
                    async for finding in prove.verify(
                        store, keys, name, results[-1], clock=command.now, progress=progress
                    ):
                        _show_finding(finding, as_json=False)

    command.run(check())
    for result in results:
        _show_verified(result, as_json=False)
    return not any(result.findings for result in results)


def _show_finding(finding: "Finding", as_json: bool) -> None:
    entry_id = finding.entry_id.hex() if finding.entry_id is not None else None
    if as_json:
        command.out({
            "controller": finding.controller_id, "seq": finding.seq, "entry_id": entry_id, "what": finding.what,
            "text": finding.text,
        })  # fmt: skip
        return
    named = " ".join(str(part) for part in (finding.seq, f"({entry_id})" if entry_id else None) if part is not None)
    print(f"{_called(finding.controller_id)}: entry {named or '?'}: {finding.what}: {finding.text}")


def _show_verified(result: "Verified", as_json: bool) -> None:
    if as_json:
        command.out({
            "controller": result.controller_id, "entries": result.entries, "findings": result.findings,
            "waiting": result.waiting, "seq": result.seq, "hash": result.hash,
            "clock_steps": [{"first": x.first, "last": x.last, "ms": x.by_ms} for x in result.steps],
        })  # fmt: skip
        return
    name = _called(result.controller_id)
    if result.findings > SHOWN:
        print(f"{name}: ... and {result.findings - SHOWN} more")
    for step in result.steps:
        command.say(f"Warning: {name}: entry {step.first} ({step.entry_id.hex()}): {step.text}.")
    if result.waiting:
        command.say(f"Warning: {name}: {result.waiting} entries were written just now and are not in the chain yet.")
    state = f"{result.findings} findings" if result.findings else "whole"
    print(f"{name}: {result.entries} entries, {state}")


@ledger.command("head")
def show_head(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    mail: Annotated[
        bool, typer.Option("--mail", help="Mail it, too, to the addresses of ledger.heads_to; the gateway sends it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sign where each chain ends now. Keep what it prints elsewhere: `ledger verify --head` compares."""
    from gateway import prove

    loaded = command.configuration(config)
    if mail and not loaded.ledger.heads_to:
        raise Refused(f"ledger.heads_to in {loaded.path} names nobody. Add the addresses heads are to be mailed to.")
    ring = command.key_ring(loaded)
    keys = prove.head_keys(ring)

    async def heads() -> list[dict[str, Any]]:
        async with command.opened(loaded) as store:
            await store.seal()
            names = await _ledgers(store, loaded, controller, ())
            made = [await prove.head(store, keys, name, command.now()) for name in names]
            rows = [prove.head_row(one) for one in made if one is not None]
            if mail and rows:
                await store.enqueue(*_head_mail(loaded, ring).letters(rows, command.now()))
            return rows

    found = command.run(heads())
    if not found:
        raise Refused("There is no ledger yet: nothing was recorded, or the record of its end is damaged.")
    for row in found:
        if as_json:
            command.out(row)
        else:
            said = {name: written(value) if isinstance(value, datetime) else value for name, value in row.items()}
            print("\n".join(f"{name + ':':12}{value}" for name, value in said.items()), end="\n\n")
    if mail:
        command.say(f"Queued for {', '.join(loaded.ledger.heads_to)}; the running gateway sends it.")


def _head_mail(loaded: Config, ring: "KeyRing") -> "HeadMail":
    from gateway.head_mail import HeadMail
    from gateway.keys import signers
    from gateway.weigh import Scales
    from gateway.words import Words

    words, scales = Words.load(loaded.own_templates), Scales(loaded, frozenset(signers(loaded)))
    return HeadMail(config=loaded, words=words, scales=scales, ring=ring)


@ledger.command("rebuild")
def rebuild(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    check: Annotated[bool, typer.Option("--check", help="Compare only; exit code 1 where something differs.")] = False,
    as_json: Json = False,
) -> None:
    """Make everybody's standing and opt-outs anew from the ledger, and compare or put right what is stored."""
    from gateway import prove

    loaded = command.configuration(config)
    results: list[Rebuilt] = []

    async def compare() -> None:
        async with command.opened(loaded) as store:
            with command.counting_bar("people") as progress:
                for name in await _ledgers(store, loaded, controller, ()):
                    result = prove.Rebuilt(controller_id=name)
                    results.append(result)
                    async for difference in prove.rebuild(store, name, result, write=not check, progress=progress):
                        if result.differences <= SHOWN:
                            _show_difference(difference, as_json)
                    if result.differences and not check:
                        public = {"act": "projection put right", "by": "command line", "rows": result.differences}
                        await store.note(name, "staff_act", public, at=command.now())

    command.run(compare())
    for result in results:
        if as_json:
            command.out({
                "controller": result.controller_id, "people": result.people, "skipped": result.skipped,
                "differences": result.differences, "written": not check,
            })  # fmt: skip
        else:
            done = "differ" if check else "put right"
            print(
                f"{_called(result.controller_id)}: {result.people} people compared, {result.skipped} skipped whose key "
                f"is gone, {result.differences} rows {done}"
            )
    if check and any(result.differences for result in results):
        raise typer.Exit(1)


def _show_difference(difference: "Difference", as_json: bool) -> None:
    if as_json:
        command.out({
            "controller": difference.controller_id, "recipient": difference.recipient_key, "table": difference.table,
            "text": difference.text,
        })  # fmt: skip
    else:
        key = difference.recipient_key
        about = "list of hashes" if key is None else f"person {key.hex()}"
        print(f"{_called(difference.controller_id)}: {about}: {difference.text}")


@ledger.command("export")
def export(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None) -> None:
    """Print signed heads and all sealed entries as JSON lines, for `verify_ledger.py`. Private fields stay sealed."""
    from gateway import prove

    loaded = command.configuration(config)
    keys = prove.head_keys(command.key_ring(loaded))

    async def write() -> None:
        async with command.opened(loaded) as store:
            names = await _ledgers(store, loaded, controller, ())
            for name in names:
                for kept in (*await store.heads(name), await prove.head(store, keys, name, command.now())):
                    if kept is not None:
                        command.out(prove.head_row(kept))
            for name in names:
                async for line in prove.export(store, name):
                    print(line)

    command.run(write())


@ledger.command("verifier")
def verifier(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print verify_ledger.py: one file that checks a ledger without this program. --config changes nothing."""
    print(files("gateway").joinpath("verifier.py").read_text("utf-8"), end="")


async def _ledgers(
    store: "Store", config: Config, controller: str | None, outside: "list[KeptHead] | tuple[()]"
) -> list[str]:
    """The controllers asked for: one that is in the settings or in the database, or all of the database."""
    known = await store.ledgers()
    if controller is None:
        return sorted({*known, *(one.head.controller_id for one in outside)})
    return [controller if controller in known else command.controller_of(config, controller).id]


def _heads_of(file: Path) -> "list[KeptHead]":
    from gateway.prove import head_of_row

    try:
        return [head_of_row(json.loads(line)) for line in file.read_text("utf-8").splitlines() if line.strip()]
    except OSError as failed:
        raise Refused(f"{file} cannot be read: {failed.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{file} holds no heads; give what `consentgate ledger head --json` printed.") from None


def _called(controller_id: str) -> str:
    return controller_id or "(everywhere)"
