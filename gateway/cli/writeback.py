"""Commands about write-back: who was told of what people said, trying again, dropping; and who keeps mailing them."""

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store.telling import Drift, JobCount, JobRow, State

app = command.make_app()
jobs = command.make_group("What tools and endpoints still have to be told of opt-outs and erasures.")
app.add_typer(jobs, name="writeback")

COUNT_COLUMNS = ("target", "state", "jobs", "oldest", "newest", "said")
DRIFT_COLUMNS = ("login", "stream", "tried", "people", "told", "told_people", "last_at")
JOB_COLUMNS = ("job_id", "target", "event", "state", "at", "due_at", "attempts", "said")
STATES: "tuple[State, ...]" = ("waiting", "done", "failed", "dropped")
DRIFT_DAYS = 30

JobId = Annotated[str | None, typer.Argument(metavar="[JOB]", help="As `writeback list` shows it.")]
Target = Annotated[str | None, typer.Option("--target", metavar="NAME", help="All of one target, as webhook/crm.")]
Every = Annotated[bool, typer.Option("--all", help="All that are not done.")]


def told(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """Who was told of opt-outs and erasures, and who still has to be: jobs by target and state."""
    loaded = command.configuration(config)
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def read() -> "list[JobCount]":
        async with command.opened(loaded) as store:
            return [row for name in names for row in await store.write_back_counts(name)]

    _show(command.run(read()), COUNT_COLUMNS, as_json, "Nothing had to be told.")


def drift(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-11-01, or 12h, 7d ago; default the last 30 days.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How each login went on mailing people who had opted out; `told`: after a tool or endpoint knew of it."""
    from gateway.cli.reports import instant

    loaded, now = command.configuration(config), command.now()
    after = now - timedelta(days=DRIFT_DAYS) if since is None else instant(since, now)
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def read() -> "list[Drift]":
        async with command.opened(loaded) as store:
            return [row for name in names for row in await store.drift(name, since=after)]

    _show(command.run(read()), DRIFT_COLUMNS, as_json, "Nobody was mailed who had opted out.")


@jobs.command("list")
def list_jobs(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="waiting, done, failed or dropped.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1000,
    as_json: Json = False,
) -> None:
    """Jobs, the newest first. `failed` were given up and can be tried again."""
    loaded = command.configuration(config)
    wanted = _state(state)
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def read() -> "list[JobRow]":
        async with command.opened(loaded) as store:
            return [row for name in names for row in await store.write_backs(name, state=wanted, n=limit)]

    _show(command.run(read()), JOB_COLUMNS, as_json, "There are no jobs.")


@jobs.command("retry")
def retry(
    job: JobId = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    target: Target = None,
    every: Every = False,
) -> None:
    """Try jobs again now, those that were given up too, for another seven days. Exit code 1: there are none."""
    _change(config, controller, job, target, "waiting", every=every)


@jobs.command("drop")
def drop(
    job: JobId = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    target: Target = None,
    every: Every = False,
) -> None:
    """Tell nobody any more: for jobs whose receiver is no more. Exit code 1: there are none."""
    _change(config, controller, job, target, "dropped", every=every)


def _change(
    config: "Path", controller: str | None, job: str | None, target: str | None, to: "State", *, every: bool
) -> None:  # fmt: skip
    from gateway.record import staff_acts

    if [job is not None, target is not None, every].count(True) != 1:
        raise Misused("Name one job, or --target, or --all.")
    try:
        job_id = None if job is None else UUID(job).bytes
    except ValueError:
        raise Refused(f"{job!r} is no job. See: consentgate writeback list") from None
    loaded, who = command.settings_of(config, controller)
    act = "write_back_retried" if to == "waiting" else "write_back_dropped"

    async def change() -> int:
        async with command.opened(loaded) as store:
            now = command.now()
            n = await store.change_write_backs(who.id, job_id=job_id, target=target, to=to, now=now)
            for note in staff_acts([who.id], act, by="command line", at=now, target=target or "", jobs=n) if n else ():
                await store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)
            return n

    changed = command.run(change())
    if not changed:
        raise Refused("There is no such job that is waiting or was given up. See: consentgate writeback list")
    command.say(f"{changed} job(s) {'are tried again' if to == 'waiting' else 'were dropped'}.")


def _state(text: str | None) -> "State | None":
    found = next((state for state in STATES if state == text), None)
    if text is not None and found is None:
        raise Misused(f"There is no state {text!r}. Known: {', '.join(STATES)}.")
    return found


def _show(rows: "list[Any]", columns: tuple[str, ...], as_json: bool, none: str) -> None:
    if as_json:
        for row in rows:
            command.out(dataclasses.asdict(row))
    elif rows:
        command.columns([tuple(command.cell(getattr(row, name)) for name in columns) for row in rows], columns)
    else:
        command.say(none)
