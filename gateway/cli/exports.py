"""The command `export`: people as a file for another tool."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.imports import counted
from gateway.cli.refusal import Refused

app = command.make_app()
FormName = Literal[
    "native", "mailchimp", "brevo", "sendgrid", "mailgun", "ses", "postmark", "listmonk", "usesend", "hashes"
]


@app.command("export")
def export(
    kind: Annotated[
        Literal["suppressions", "consents", "people"], typer.Argument(metavar="KIND", help="What to hand out.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new file; readable by you alone.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    form: Annotated[FormName, typer.Option("--format", help="Which tool it is for.")] = "native",
    to: Annotated[str, typer.Option(metavar="WHOM", help="To whom it goes; kept in the ledger.")] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="For what purpose; kept in the ledger.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who hands it out.")] = "command line",
    as_json: Json = False,
) -> None:
    """Write opt-outs, consents or people to a file in our own or another tool's format. The ledger records it.

    KIND is suppressions, consents or people. Addresses leave in clear: the file is yours to guard.
    """
    from gateway.files.outgoing import WRITERS
    from gateway.hand_out import HandedOut, hand_out
    from gateway.new_file import Unwritable

    loaded, who = command.settings_of(config, controller)
    if (form, kind) not in WRITERS:
        able = ", ".join(name for name, held in WRITERS if held == kind)
        raise Refused(f"The format {form} holds no {kind}. Formats that do: {able}.")
    place, ring = command.new_place(out), command.key_ring(loaded)

    async def write() -> HandedOut:
        async with command.opened(loaded) as store:
            with counted("people written") as progress:
                return await hand_out(
                    place, kind, form, store=store, controller=who, ring=ring, now=command.now(), by=by, to=to, why=why,
                    progress=progress,
                )  # fmt: skip

    try:
        done = command.run(write())
    except Unwritable as refused:
        raise Refused(str(refused)) from None
    if as_json:
        command.out({
            "kind": kind, "format": form, "file": str(out), "rows": done.rows, "people": done.people,
            "without_address": done.nameless, "restricted": done.restricted, "unreadable": done.unreadable,
            "sha256": done.digest,
        })  # fmt: skip
        return
    print(f"{out}: {done.rows} rows about {done.people} people")
    if done.nameless:
        command.say(
            f"{done.nameless} more must not be mailed whose address is not on file; this gateway keeps them out, the "
            "other tool cannot know them."
        )
    if done.restricted:
        command.say(f"{done.restricted} people are restricted: their data is stored only, and was left out.")
    if done.unreadable:
        command.say(f"{done.unreadable} people have rows that cannot be read; they were left out.")
