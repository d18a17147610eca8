"""Commands about what came back: report bounces, queue resume."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.store.contract import Store
    from gateway.store.returned import ReturnedRow

PAGE = 500
COLUMNS = ("at", "stream", "kind", "class", "reason", "recipient", "task")
Kind = Literal["bounce", "complaint", "auto-reply", "unsubscribe", "other"]


def bounces(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-11-01, 2026-11-01T10:00:00Z, or 2d, 12h ago.")
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only what a person has yet to read.")] = False,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show addresses instead of recipient keys.")] = False,
    as_json: Json = False,
) -> None:
    """What came back, newest first: bounces, complaints, replies, refusals at hand-over; 24 months are kept.

    `counts` true: one of the two reports on different mails that it takes to mark an address undeliverable.
    """
    from gateway.cli.reports import instant

    loaded = command.configuration(config)
    after = None if since is None else instant(since, command.now())
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def show() -> tuple[list[tuple[str, ...]], Counter[tuple[str, str]]]:
        cells, counts = [], Counter[tuple[str, str]]()
        async with command.opened(loaded) as store:
            for name in names:
                async for row in _rows(store, name, after, kind, waiting, addresses):
                    fields = _fields(row, addresses)
                    counts[row.kind, row.bounce_class] += 1
                    if as_json:
                        command.out(fields)
                    else:
                        cells.append(tuple(command.cell(fields[column]) for column in COLUMNS))
        return cells, counts

    found, counts = command.run(show())
    if found:
        command.columns(found, ("at (UTC)", *COLUMNS[1:]))
        command.say(", ".join(
            f"{n} {what}{'' if how == 'none' else ' ' + how}" for (what, how), n in sorted(counts.items())
        ))  # fmt: skip
    elif not as_json:
        command.say("Nothing came back.")


async def _rows(
    store: "Store", controller: str, since: datetime | None, kind: str | None, waiting: bool, addresses: bool
) -> AsyncIterator["ReturnedRow"]:
    """The rows that meet the filters, page by page."""
    past = None
    while True:
        page = await store.came_back(
            controller, since=since, kinds=() if kind is None else (kind,), waiting=waiting, past=past, n=PAGE,
            addresses=addresses,
        )  # fmt: skip
        for row in page:
            if (kind is None or row.kind == kind) and (since is None or row.at >= since):
                yield row
        if len(page) < PAGE:
            return
        past = page[-1].report_id


def _fields(row: "ReturnedRow", addresses: bool) -> dict[str, Any]:
    shown = (row.address or None) if addresses else None
    return {
        "at": row.at, "controller": row.controller_id, "stream": row.stream, "campaign": row.campaign,
        "kind": row.kind, "source": row.source, "class": row.bounce_class, "reason": row.reason,
        "status": row.status, "diagnostic": row.content.get("said"), "label": row.content.get("label"),
        "proven": row.proven, "counts": row.dead, "task": row.task, "recipient": shown or row.recipient_key,
        "message_id": row.message_id, "report": row.report_id.hex(),
    }  # fmt: skip


def resume(
    stream: Annotated[str, typer.Option("--stream", metavar="NAME", help="The stream of the campaign.")],
    campaign: Annotated[str, typer.Option("--campaign", metavar="NAME", help="As `report campaigns` has it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it may go on; kept sealed.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Let a campaign go on that complaints had stopped. Each copy is decided anew before it leaves."""
    from gateway.resume import resume as carry_out

    loaded, who = command.settings_of(config, controller)

    async def go() -> int | None:
        async with command.opened(loaded) as store:
            return await carry_out(
                store, who.id, stream, campaign, by="command line", why=reason, now=command.now()
            )  # fmt: skip

    again = command.run(go())
    if again is None:
        raise Refused(f"No campaign {campaign!r} of stream {stream!r} is stopped. See: consentgate report campaigns")
    if as_json:
        command.out({"controller": who.id, "stream": stream, "campaign": campaign, "queued": again})
    else:
        print(f"It goes on; {again} copies that were set aside are in the queue again.")
