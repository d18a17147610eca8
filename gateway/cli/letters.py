"""Commands about the mail the product writes itself: look at a letter, check a controller's own templates."""

import email
import email.policy
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Controller
    from gateway.specimen import Specimens

app = command.make_app()
letter = command.make_group("The mail the product writes itself.")
app.add_typer(letter, name="letter")


@letter.command("list")
def list_(as_json: Json = False) -> None:
    """Every letter, and what it does."""
    from gateway.letters import NAMES

    if as_json:
        for name, what in NAMES.items():
            command.out({"letter": name, "what": what})
        return
    command.columns(list(NAMES.items()), ("letter", "what it does"))


@letter.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which letter; `letter list` names them.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    language: Annotated[Literal["nl", "en", "fr", "de"] | None, typer.Option(help="Absent: the controller's.")] = None,
    part: Annotated[
        Literal["message", "text", "html"], typer.Option(help="The whole message, or one part.")
    ] = "message",
) -> None:
    """Print a letter as it would leave, with invented contents and unsigned: by your own templates where you have them.

    `--part html > letter.html` is for a browser, the whole message for a mail program.
    """
    from gateway.letters import NAMES

    known = next((one for one in NAMES if one == name), None)
    if known is None:
        raise Refused(f"There is no letter {name!r}. Known: {', '.join(NAMES)}.")
    specimens, owner = _specimens(config, controller)
    raw = specimens.show(owner, known, language or specimens.words.pick([owner.language]))
    if part == "message":
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return
    message = email.message_from_bytes(raw, policy=email.policy.default)
    body = next((one for one in message.walk() if one.get_content_type() == f"text/{_SUBTYPES[part]}"), None)
    if body is None:
        raise Refused(f"The letter {name!r} has no HTML: it is text alone.")
    print(body.get_content().rstrip("\n"))


_SUBTYPES = {"text": "plain", "html": "html"}


@letter.command("check")
def check(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """Fill in every letter in every language. Exit code 1 where a template of your own cannot be used.

    Such a template is passed by, and the letter leaves in the words that ship.
    """
    loaded = command.configuration(config)
    wrong = 0
    for owner in command.controllers_of(loaded, controller):
        specimens, _ = _specimens(config, owner.id)
        for name, language, what in specimens.check(owner):
            wrong += 1
            if as_json:
                command.out({"controller": owner.id, "letter": name, "language": language, "problem": what})
            else:
                print(f"{owner.id}: {name} ({language}): {what}")
    if wrong:
        raise typer.Exit(1)
    command.say(f"All letters can be written. Own templates go to {loaded.own_templates}/CONTROLLER/mail.")


def _specimens(config: "Path", controller: str | None) -> "tuple[Specimens, Controller]":
    from gateway.specimen import Specimens
    from gateway.words import Words

    loaded, owner = command.settings_of(config, controller)
    return Specimens(config=loaded, words=Words.load(loaded.own_templates), now=command.now()), owner
