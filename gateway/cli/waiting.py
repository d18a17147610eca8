"""Commands about mail that waits: the queue, and service mail that is held until somebody says what it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import command
from gateway.cli.came_back import resume
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.question import Question

app = command.make_app()
queue = command.make_group("What waits to leave.")
app.add_typer(queue, name="queue")
queue.command("resume")(resume)

MessageId = Annotated[str, typer.Argument(metavar="MESSAGE-ID", help="As `queue list --held` shows it.")]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="What kind of mail it is; the ledger keeps it with the answer."),
]


@queue.command("list")
def queue_list(
    config: ConfigPath = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1000,
    held: Annotated[
        bool, typer.Option("--held", help="Instead: service mail that looks like advertising and waits for an answer.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copies that wait, the next one due first."""
    rows = _held(config)[:limit] if held else _waiting(config, limit)
    if as_json:
        for row in rows:
            command.out(row)
    elif rows:
        command.columns([tuple(_cell(value) for value in row.values()) for row in rows], tuple(rows[0]))
    else:
        command.say("No mail waits for an answer." if held else "Nothing waits.")


@queue.command("show")
def queue_show(
    copy: Annotated[str, typer.Argument(metavar="MESSAGE-ID[/COPY]", help="As `queue list` shows it.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Waiting copies of one message."""
    wanted, _, number = copy.partition("/")
    wanted = wanted.replace("-", "").lower()
    rows = [
        row
        for row in _waiting(config, 100_000)
        if _cell(row["message_id"]).replace("-", "") == wanted and number in ("", str(row["copy_no"]))
    ]
    if not rows:
        raise Refused(f"Nothing of {copy} waits. See: consentgate queue list")
    for row in rows:
        if as_json:
            command.out(row)
        else:
            print("\n".join(f"{name}: {_cell(value)}" for name, value in row.items()) + "\n")


def _waiting(config: Path, limit: int) -> list[dict[str, Any]]:
    loaded = command.configuration(config)

    async def read() -> list[dict[str, Any]]:
        async with command.opened(loaded) as store:
            return [dict(row) for row in await store.queue_list(limit)]

    return command.run(read())


def _cell(value: object) -> str:
    return "" if value is None else value.hex() if isinstance(value, bytes) else str(value)


def _held(config: Path) -> list[dict[str, Any]]:
    from gateway import question

    loaded = command.configuration(config)

    async def read() -> "list[Question]":
        async with command.opened(loaded) as store:
            return await question.questions(store, loaded.controllers)

    return [
        {
            "controller": one.first.controller_id, "message_id": _name(one.first.message_id),
            "stream": one.first.stream, "campaign": one.first.campaign, "messages": one.messages, "copies": one.copies,
            "since": one.first.at, "expires_at": one.expires_at, "signs": list(one.first.signs),
        }
        for one in command.run(read())
    ]  # fmt: skip


@queue.command("release")
def queue_release(message: MessageId, reason: Reason, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Say that held mail is service mail: it leaves, and so does mail like it from now on."""
    _answer(config, message, reason, service=True)


@queue.command("drop")
def queue_drop(message: MessageId, reason: Reason, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Say that held mail is advertising: it ends here, its senders are told, and mail like it counts as marketing."""
    _answer(config, message, reason, service=False)


def _answer(config: Path, message: str, reason: str, *, service: bool) -> None:
    from uuid import UUID

    from gateway import question
    from gateway.keys import signers
    from gateway.notice import Notices
    from gateway.weigh import Scales
    from gateway.words import Words

    loaded = command.configuration(config)
    try:
        message_id = UUID(message.partition("/")[0]).bytes
    except ValueError:
        raise Refused(f"{message!r} is no message id. See: consentgate queue list --held") from None
    scales = Scales(loaded, frozenset(signers(loaded)))
    notices = Notices(loaded, Words.load(loaded.own_templates), scales, command.key_ring(loaded))

    async def answer() -> int:
        async with command.opened(loaded) as store:
            waiting = [one.first for one in await question.questions(store, loaded.controllers)]
            for controller_id in dict.fromkeys(one.controller_id for one in waiting):
                held = await store.held_mail(controller_id, n=question.LISTED)
                if any(one.message_id == message_id for one in held):
                    return await question.answer(
                        store, loaded, notices, controller_id, message_id, service=service, why=reason, by="operator",
                        channel="command line", now=command.now(),
                    )  # fmt: skip
        raise question.NotAnswered("gone", "No such message waits for an answer. See: consentgate queue list --held")

    try:
        copies = command.run(answer())
    except question.NotAnswered as wrong:
        raise Refused(str(wrong)) from None
    what = "leaves" if service else "ended"
    command.say(f"{copies} {'copy' if copies == 1 else 'copies'}: {what}.")


def _name(message_id: bytes) -> str:
    from uuid import UUID

    return str(UUID(bytes=message_id))
