"""Commands about mail that waits: the queue, what is held of it, and service mail that waits for an answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import command
from gateway.cli.came_back import resume
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.hold import Wanted
    from gateway.question import Question
    from gateway.store.waiting import WaitingCopy

app = command.make_app()
queue = command.make_group("What waits to leave.")
app.add_typer(queue, name="queue")
queue.command("resume")(resume)

MessageId = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE-ID]", help="One message, as `queue list` shows it and 250 said.")
]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="TEXT", help="Why, or what kind of mail it is; the ledger keeps it."),
]
StreamName = Annotated[str | None, typer.Option("--stream", metavar="NAME", help="Only this stream.")]
Campaign = Annotated[
    str | None, typer.Option("--campaign", metavar="NAME", help="Only this campaign, as `report campaigns` has it.")
]
Domain = Annotated[str | None, typer.Option("--domain", metavar="NAME", help="Only recipients of this domain.")]
State = Literal["queued", "claimed", "held"]
STATES: frozenset[State] = frozenset({"queued", "claimed", "held"})


@queue.command("list")
def queue_list(
    message: MessageId = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    state: Annotated[
        State | None, typer.Option(help="Only these: queued, claimed (a worker has them in hand), held.")
    ] = None,
    stream: StreamName = None,
    campaign: Campaign = None,
    domain: Domain = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    held: Annotated[
        bool, typer.Option("--held", help="Instead: service mail that looks like advertising and waits for an answer.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copies that have not left: those in the queue, the next one due first; those in hand; those that are held.

    `reply`: the last answer, or why a copy is held. It is read page by page, however much waits.
    """
    if held:
        _show(_held(config)[:limit], as_json, "No mail waits for an answer.")
        return
    loaded = command.configuration(config)
    wanted = _wanted(
        loaded, controller, message=message, stream=stream, campaign=campaign, domain=domain,
        states=frozenset({state} if state else STATES),
    )  # fmt: skip
    found: list[dict[str, Any]] = []

    async def read() -> None:
        from gateway import hold

        left = limit
        async with command.opened(loaded) as store:
            async for copy in hold.waiting(store, wanted):
                row = _row(copy)
                if as_json:
                    command.out(row)
                else:
                    found.append(row)
                left -= 1
                if not left:
                    return

    command.run(read())
    if not as_json:
        _show(found, as_json, "Nothing waits.")


@queue.command("show")
def queue_show(
    copy: Annotated[str, typer.Argument(metavar="MESSAGE-ID[/COPY]", help="As `queue list` shows it.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Waiting copies of one message."""
    named, _, number = copy.partition("/")
    loaded = command.configuration(config)
    wanted = _wanted(loaded, None, message=named)

    async def read() -> list[dict[str, Any]]:
        from gateway import hold

        async with command.opened(loaded) as store:
            return [_row(one) async for one in hold.waiting(store, wanted)]

    rows = [row for row in command.run(read()) if number in ("", str(row["copy_no"]))]
    if not rows:
        raise Refused(f"Nothing of {copy} waits. See: consentgate queue list")
    for row in rows:
        if as_json:
            command.out(row)
        else:
            print("\n".join(f"{name}: {_cell(value)}" for name, value in row.items()) + "\n")


def _show(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    if as_json:
        for row in rows:
            command.out(row)
    elif rows:
        command.columns([tuple(_cell(value) for value in row.values()) for row in rows], tuple(rows[0]))
    else:
        command.say(nothing)


def _row(copy: "WaitingCopy") -> dict[str, Any]:
    return {
        "controller": copy.key.controller_id, "message_id": _name(copy.key.message_id), "copy_no": copy.key.copy_no,
        "stream": copy.stream, "campaign": copy.campaign, "state": copy.state, "route": copy.route,
        "accepted_at": copy.at, "due_at": copy.due_at, "attempts": copy.attempts, "maybe_twice": copy.maybe_twice,
        "reason_code": copy.reason_code, "reply": copy.said,
    }  # fmt: skip


def _wanted(
    loaded: "Config", controller: str | None, *, message: str | None = None, stream: str | None = None,
    campaign: str | None = None, domain: str | None = None, states: frozenset[State] = STATES,
) -> "Wanted":  # fmt: skip
    from gateway.hold import Wanted

    return Wanted(
        controllers=frozenset(one.id for one in command.controllers_of(loaded, controller)), states=states,
        stream=stream, campaign=campaign, domain=domain, message_id=None if message is None else _id(message),
    )  # fmt: skip


def _id(message: str) -> bytes:
    from uuid import UUID

    try:
        return UUID(message.partition("/")[0]).bytes
    except ValueError:
        raise Refused(f"{message!r} is no message id. See: consentgate queue list") from None


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


@queue.command("hold")
def queue_hold(
    reason: Reason,
    message: MessageId = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    stream: StreamName = None,
    campaign: Campaign = None,
    domain: Domain = None,
) -> None:
    """Stop mail, until `queue release`: of a stream or one of its campaigns, what waits and what comes; or some copies.

    Within a second nothing of it leaves on any node. Copies of a message or for a domain that a worker has in hand
    just now are left alone.
    """
    _act("hold", config, controller, message, stream, campaign, domain, reason)


@queue.command("release")
def queue_release(
    reason: Reason,
    message: MessageId = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    stream: StreamName = None,
    campaign: Campaign = None,
    domain: Domain = None,
) -> None:
    """Let held mail go on; each copy is decided anew before it leaves.

    Of a message that looks like advertising it says that this is service mail, and mail like it leaves from now on.
    """
    if message is None or not _answer(config, message, reason, service=True):
        _act("release", config, controller, message, stream, campaign, domain, reason)


@queue.command("drop")
def queue_drop(
    reason: Reason,
    message: MessageId = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    stream: StreamName = None,
    campaign: Campaign = None,
    domain: Domain = None,
) -> None:
    """End copies that wait or are held, for good; nobody is told. What a worker has in hand just now is left alone.

    Of a message that looks like advertising it says that it is: its senders are told, and mail like it counts as
    marketing.
    """
    if message is None or not _answer(config, message, reason, service=False):
        _act("drop", config, controller, message, stream, campaign, domain, reason)


def _act(
    what: Literal["hold", "release", "drop"], config: Path, controller: str | None, message: str | None,
    stream: str | None, campaign: str | None, domain: str | None, why: str,
) -> None:  # fmt: skip
    from gateway import hold
    from gateway.store.waiting import Hold

    loaded = command.configuration(config)
    if not why.strip():
        raise Refused("--reason: say why; the ledger keeps it.")
    if message is None and stream is None and domain is None:
        raise Refused("Say of what: MESSAGE-ID, --stream with or without --campaign, or --domain.")
    if stream is not None:
        controller = command.stream_of(loaded, controller, stream)[0].id
    wanted = _wanted(loaded, controller, message=message, stream=stream, campaign=campaign, domain=domain)

    async def carry_out() -> int | None:
        now = command.now()
        with command.counting_bar("copies") as bar:
            tell = (lambda _n: None) if bar is None else (lambda n: bar("", n, 0))
            async with command.opened(loaded) as store:
                if message is not None or domain is not None or what == "drop" or stream is None:
                    return await hold.act(store, wanted, what, by="command line", why=why, now=now, tell=tell)
                place = Hold(controller_id=controller or "", stream=stream, campaign=campaign or "", at=now)
                if what == "hold":
                    return await hold.hold(store, place, by="command line", why=why, tell=tell)
                return await hold.release(store, place, by="command line", why=why, now=now, tell=tell)

    copies = command.run(carry_out())
    if not copies and (copies is None or message is not None):
        raise Refused("No such message waits, or is held. See: consentgate queue list")
    command.say(f"{copies} {'copy' if copies == 1 else 'copies'}: {_DONE[what]}.")


_DONE = {"hold": "held", "release": "in the queue again", "drop": "dropped"}


def _answer(config: Path, message: str, reason: str, *, service: bool) -> bool:
    """Answer the question about a held message; False where there is none."""
    from gateway import question
    from gateway.keys import signers
    from gateway.notice import Notices
    from gateway.weigh import Scales
    from gateway.words import Words

    loaded = command.configuration(config)
    message_id = _id(message)
    scales = Scales(loaded, frozenset(signers(loaded)))
    notices = Notices(loaded, Words.load(loaded.own_templates), scales, command.key_ring(loaded))

    async def answer() -> int | None:
        async with command.opened(loaded) as store:
            waiting = [one.first for one in await question.questions(store, loaded.controllers)]
            for controller_id in dict.fromkeys(one.controller_id for one in waiting):
                held = await store.held_mail(controller_id, n=question.LISTED)
                if any(one.message_id == message_id for one in held):
                    return await question.answer(
                        store, loaded, notices, controller_id, message_id, service=service, why=reason, by="operator",
                        channel="command line", now=command.now(),
                    )  # fmt: skip
        return None

    try:
        copies = command.run(answer())
    except question.NotAnswered as wrong:
        raise Refused(str(wrong)) from None
    if copies is None:
        return False
    what = "leaves" if service else "ended"
    command.say(f"{copies} {'copy' if copies == 1 else 'copies'}: {what}.")
    return True


def _name(message_id: bytes) -> str:
    from uuid import UUID

    return str(UUID(bytes=message_id))
