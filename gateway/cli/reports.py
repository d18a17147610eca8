"""Commands that tell a marketer what happened: blocked, campaigns; evidence is appraisal.py, drift is writeback.py."""

import dataclasses
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import report
from gateway.cli import command
from gateway.cli.appraisal import evidence
from gateway.cli.came_back import bounces
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused
from gateway.cli.writeback import drift, told

if TYPE_CHECKING:
    from gateway.store.contract import Store

app = command.make_app()
reports = command.make_group("What was kept out and why.")
app.add_typer(reports, name="report")
reports.command("evidence")(evidence)
reports.command("writeback")(told)
reports.command("drift")(drift)
reports.command("bounces")(bounces)

BLOCKED_FIELDS = (
    "at", "controller", "stream", "campaign", "subject", "message_id", "recipient", "decision", "reason_code", "cite",
    "mode", "packs", "country_from",
)  # fmt: skip
BLOCKED_COLUMNS = ("at", "stream", "recipient", "reason_code", "subject")
CAMPAIGN_COLUMNS = (
    "stream", "campaign", "mode", "subject", "accepted", "allowed", "blocked", "deferred", "delivered", "captured",
    "bounced", "maybe_twice", "complaints", "opted_out", "flagged",
)  # fmt: skip
CAMPAIGN_FIELDS = (
    "controller", "campaign", "stream", "subject", "first_at", "last_at", "accepted", "allowed", "blocked", "deferred",
    "delivered", "captured", "bounced", "opted_out", "blocked_by_reason", "mode", "observed", "observed_by_reason",
    "open", "released", "complaints", "stopped", "maybe_twice", "flagged",
)  # fmt: skip


Since = Annotated[str | None, typer.Option(metavar="TIME", help="2026-11-01, 2026-11-01T10:00:00Z, or 2d, 12h ago.")]
OnlyStream = Annotated[str | None, typer.Option(metavar="NAME", help="Only this stream.")]
OnlyCampaign = Annotated[str | None, typer.Option(metavar="NAME", help="Only this campaign.")]
OnlyReason = Annotated[str | None, typer.Option(metavar="CODE", help="Only this reason code.")]
ShowAddresses = Annotated[bool, typer.Option("--addresses", help="Show addresses instead of recipient keys.")]


@reports.command("blocked")
def blocked(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    since: Since = None,
    stream: OnlyStream = None,
    campaign: OnlyCampaign = None,
    reason: OnlyReason = None,
    addresses: ShowAddresses = False,
    explained: Annotated[
        bool, typer.Option("--explain", help="Why, per copy: rule, remedy; with --addresses the facts too, on record.")
    ] = False,
    language: Annotated[
        str | None, typer.Option("--language", metavar="LANG", help="Of --explain: nl, en, fr or de; default en.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every copy that was blocked or put off, newest first. `mode` rehearse: it would have been."""
    asked = Asked(since=since, stream=stream, campaign=campaign, reason=reason, addresses=addresses, as_json=as_json)
    explaining = None
    if explained or language is not None:
        from gateway.cli.explaining import explaining_rows

        explaining = explaining_rows(command.configuration(config), language, audited=addresses)
    _list(config, controller, asked, observed=False, explaining=explaining)


@reports.command("observed")
def observed(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    since: Since = None,
    stream: OnlyStream = None,
    campaign: OnlyCampaign = None,
    reason: OnlyReason = None,
    addresses: ShowAddresses = False,
    as_json: Json = False,
) -> None:
    """Every copy that a stream in mode observe let through, and the reason that would have blocked it."""
    asked = Asked(since=since, stream=stream, campaign=campaign, reason=reason, addresses=addresses, as_json=as_json)
    _list(config, controller, asked, observed=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which rows are asked for, and how they are shown."""

    since: str | None
    stream: str | None
    campaign: str | None
    reason: str | None
    addresses: bool
    as_json: bool


Explaining = Callable[["Store", Sequence[report.BlockedRow]], Awaitable[list[dict[str, Any]]]]
"""What explains rows of one controller: fields for each."""


def _list(
    config: Path, controller: str | None, asked: Asked, *, observed: bool, explaining: Explaining | None = None
) -> None:  # fmt: skip
    loaded = command.configuration(config)
    after = None if asked.since is None else instant(asked.since, command.now())
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def show() -> None:
        cells: list[tuple[str, ...]] = []
        shown = 0
        async with command.opened(loaded) as store:  # around the output: a reader that leaves closes it as well
            for name in names:
                rows = report.each_blocked(
                    store, name, since=after, stream=asked.stream, campaign=asked.campaign, reason=asked.reason,
                    addresses=asked.addresses, observed=observed,
                )  # fmt: skip
                async for batch in _batches(rows):
                    why = await explaining(store, batch) if explaining is not None else [{}] * len(batch)
                    for row, more in zip(batch, why, strict=True):
                        shown += 1
                        fields = {**_blocked_fields(row, asked.addresses), **more}
                        if asked.as_json:
                            command.out(fields)
                        elif explaining is not None:
                            print("\t".join(command.cell(fields[field]) for field in BLOCKED_COLUMNS))
                            print(f"  {more.get('text', '')}")
                        else:
                            cells.append(tuple(command.cell(fields[field]) for field in BLOCKED_COLUMNS))
        if cells:
            command.columns(cells, ("at (UTC)", "stream", "recipient", "reason", "subject"))
        elif not asked.as_json and not shown:
            command.say("Nothing was let through." if observed else "Nothing was kept out.")

    command.run(show())


async def _batches(rows: AsyncIterator[report.BlockedRow], n: int = 200) -> AsyncIterator[list[report.BlockedRow]]:
    """The rows some at a time, so that what is asked about each is asked together."""
    batch: list[report.BlockedRow] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch


@reports.command("explain")
def explain(
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE-ID[/COPY]", help="As the reply to DATA, the log and the reports have it.")
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    recipient: Annotated[str | None, typer.Option(metavar="ADDR", help="Only the copies for this address.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="LANG", help="nl, en, fr or de; default en.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Why a message was, or was not, sent: each copy, as decided then and as it would be today.

    The look at each person is written to the ledger. Exit code 1: no such message, or no such copy.
    """
    from gateway.cli.explaining import explain_decision

    loaded = command.configuration(config)
    explain_decision(loaded, command.controller_of(loaded, controller), message, recipient, language, as_json)


@reports.command("campaigns")
def campaigns(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1000,
    as_json: Json = False,
) -> None:
    """Campaigns with their counts, newest first; those of a rehearsal in a row of their own."""
    loaded = command.configuration(config)
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def read() -> list[report.CampaignRow]:
        async with command.opened(loaded) as store:
            return await report.campaigns(store, controllers=names, limit=limit, rehearsed=None)

    found = command.run(read())
    if as_json:
        for row in found:
            command.out({name: getattr(row, name) for name in CAMPAIGN_FIELDS})
    elif found:
        command.columns(
            [tuple(command.cell(getattr(row, name)) for name in CAMPAIGN_COLUMNS) for row in found], CAMPAIGN_COLUMNS
        )
    else:
        command.say("Nothing was sent yet.")


def _blocked_fields(row: report.BlockedRow, addresses: bool) -> dict[str, Any]:
    """The fields of DESIGN section 12. `recipient` is the address where one is asked for and known, else the key."""
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    shown = {name: values[name] for name in BLOCKED_FIELDS}
    if addresses and row.address:
        shown["recipient"] = row.address
    return shown


def instant(text: str, now: datetime) -> datetime:
    """A point in time as people write it; without a zone it is UTC. Refused when it is none."""
    if ago := re.fullmatch(r"(\d{1,5})([mhdw])", text):
        unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago.group(2)]
        return now - timedelta(**{unit: int(ago.group(1))})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"--since: {text!r} is not a time. Write 2026-11-01, 2026-11-01T10:00:00Z, or 2d.") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
