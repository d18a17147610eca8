"""The command that makes a proof: proof."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from gateway.config import Controller
    from gateway.testify import Testified, Witness

app = command.make_app()


@app.command()
def proof(
    out: Annotated[Path, typer.Option(metavar="FILE.zip", help="Where to write it; an existing file is left alone.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    person: Annotated[str | None, typer.Option(metavar="ADDR", help="Prove what concerns this person.")] = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="ID", help="Prove what concerns this campaign; see: report campaigns")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose campaign; needed where several streams have it.")
    ] = None,
    addresses: Annotated[
        bool, typer.Option("--addresses", help="With the addresses of a campaign's recipients, not keys alone.")
    ] = False,
    language: Annotated[
        Literal["nl", "en", "fr", "de"] | None, typer.Option(help="Of the page; absent: the controller's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a ZIP that proves what was agreed, sent and stopped. verify_ledger.py checks it on any machine."""
    from gateway import testify
    from gateway.keys import key_ring
    from gateway.words import Words

    if (person is None) == (campaign is None):
        raise Misused("Give one of --person ADDR and --campaign ID.")
    command.new_place(out)
    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(person) if person is not None else None
    words, ring = Words.load(), key_ring(loaded)

    async def make() -> "Testified":
        with command.counting_bar("") as progress:
            async with command.opened(loaded) as store:
                witness = testify.Witness(
                    store=store, config=loaded, words=words, ring=ring, language=language or words.pick([who.language]),
                    by="command line", now=command.now(), progress=progress,
                )  # fmt: skip
                if plain is not None:
                    return await testify.about_person(witness, who, plain, out)
                return await _about_campaign(witness, who, stream, campaign or "", out, addresses)

    try:
        done = command.run(make())
    except testify.Unprovable as why:
        raise Refused(f"No proof was made: {why}.") from None
    except OSError as failed:
        raise Refused(f"No proof was made: {failed.strerror or failed}. Give --out another place.") from None
    _show(done, as_json)


async def _about_campaign(
    witness: "Witness", who: "Controller", stream: str | None, campaign: str, out: Path, addresses: bool
) -> "Testified":
    from gateway import testify

    having = sorted(name for name, known in await witness.store.tallies(who.id) if known == campaign)
    if stream is None and len(having) > 1:
        raise Refused(f"Several streams have that campaign: say which with --stream. Known: {', '.join(having)}.")
    if not having or (stream is not None and stream not in having):
        raise Refused(f"There is no campaign {campaign!r}. See: consentgate report campaigns")
    return await testify.about_campaign(witness, who, stream or having[0], campaign, out, addresses=addresses)


def _show(done: "Testified", as_json: bool) -> None:
    if as_json:
        command.out({
            "file": str(done.path), "manifest_sha256": done.digest, "public_key": done.public_key,
            "entries": done.entries, "decisions": done.decisions, "marketing_after_opt_out": done.late,
        })  # fmt: skip
        return
    print(f"Wrote {done.path}: {done.decisions} decisions, {done.entries} entries of the ledger.")
    print(f"Digest of its list of files (SHA-256): {done.digest.hex()}")
    print(f"Signed with the key:                   {done.public_key.hex()}")
    print("To check it anywhere: consentgate ledger verifier > verify_ledger.py; python3 verify_ledger.py FILE.zip")
    if done.late:
        command.say(f"Warning: {done.late} marketing mails left after an opt-out; the proof says so.")
