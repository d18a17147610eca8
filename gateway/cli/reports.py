"""Commands that tell a marketer what happened: report blocked, report campaigns; report evidence is appraisal.py."""

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import report
from gateway.cli import command
from gateway.cli.appraisal import evidence
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

app = command.make_app()
reports = typer.Typer(help="What was kept out and why.", no_args_is_help=True)
app.add_typer(reports, name="report")
reports.command("evidence")(evidence)

BLOCKED_FIELDS = (
    "at", "controller", "stream", "campaign", "subject", "message_id", "recipient", "decision", "reason_code", "cite",
    "mode", "packs", "country_from",
)  # fmt: skip
BLOCKED_COLUMNS = ("at", "stream", "recipient", "reason_code", "subject")
CAMPAIGN_COLUMNS = (
    "stream", "mode", "subject", "accepted", "allowed", "blocked", "deferred", "delivered", "captured", "bounced",
    "opted_out",
)  # fmt: skip
CAMPAIGN_FIELDS = (
    "controller", "campaign", "stream", "subject", "first_at", "last_at", "accepted", "allowed", "blocked", "deferred",
    "delivered", "captured", "bounced", "opted_out", "blocked_by_reason", "mode", "observed", "observed_by_reason",
    "open", "released",
)  # fmt: skip


@reports.command("blocked")
def blocked(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-11-01, 2026-11-01T10:00:00Z, or 2d, 12h ago.")
    ] = None,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="Only this stream.")] = None,
    campaign: Annotated[str | None, typer.Option(metavar="NAME", help="Only this campaign.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Only this reason code.")] = None,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show addresses instead of recipient keys.")] = False,
    as_json: Json = False,
) -> None:
    """Every copy that was blocked or put off, newest first. `mode` rehearse: it would have been."""
    _list(config, controller, since, stream, campaign, reason, addresses, as_json, observed=False)


@reports.command("observed")
def observed(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-11-01, 2026-11-01T10:00:00Z, or 2d, 12h ago.")
    ] = None,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="Only this stream.")] = None,
    campaign: Annotated[str | None, typer.Option(metavar="NAME", help="Only this campaign.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Only this reason code.")] = None,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show addresses instead of recipient keys.")] = False,
    as_json: Json = False,
) -> None:
    """Every copy that a stream in mode observe let through, and the reason that would have blocked it."""
    _list(config, controller, since, stream, campaign, reason, addresses, as_json, observed=True)


def _list(
    config: Path, controller: str | None, since: str | None, stream: str | None, campaign: str | None,
    reason: str | None, addresses: bool, as_json: bool, *, observed: bool,
) -> None:  # fmt: skip
    loaded = command.configuration(config)
    after = None if since is None else instant(since, command.now())
    names = [command.controller_of(loaded, controller).id] if controller else list(loaded.controllers)

    async def show() -> None:
        cells: list[tuple[str, ...]] = []
        async with command.opened(loaded) as store:  # around the output: a reader that leaves closes it as well
            for name in names:
                async for row in report.each_blocked(
                    store, name, since=after, stream=stream, campaign=campaign, reason=reason, addresses=addresses,
                    observed=observed,
                ):  # fmt: skip
                    shown = _blocked_fields(row, addresses)
                    if as_json:
                        command.out(shown)
                    else:
                        cells.append(tuple(_cell(shown[field]) for field in BLOCKED_COLUMNS))
        if cells:
            command.columns(cells, ("at (UTC)", "stream", "recipient", "reason", "subject"))
        elif not as_json:
            command.say("Nothing was let through." if observed else "Nothing was kept out.")

    command.run(show())


@reports.command("campaigns")
def campaigns(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1000,
    as_json: Json = False,
) -> None:
    """Campaigns with their counts, newest first; those of a rehearsal in a row of their own."""
    loaded = command.configuration(config)
    names = [command.controller_of(loaded, controller).id] if controller else list(loaded.controllers)

    async def read() -> list[report.CampaignRow]:
        async with command.opened(loaded) as store:
            return await report.campaigns(store, controllers=names, limit=limit, rehearsed=None)

    found = command.run(read())
    if as_json:
        for row in found:
            command.out({name: getattr(row, name) for name in CAMPAIGN_FIELDS})
    elif found:
        command.columns(
            [tuple(_cell(getattr(row, name)) for name in CAMPAIGN_COLUMNS) for row in found], CAMPAIGN_COLUMNS
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


def _cell(value: object) -> str:
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else str(value)
