"""The command `import`: a file of consents, sales, people or suppressions into memory."""

import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.take_in import Progress, Summary

app = command.make_app()


@app.command("import")
def import_file(
    kind: Annotated[
        Literal["consents", "sales", "people", "suppressions"], typer.Argument(metavar="KIND", help="What it holds.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="UTF-8; the first line names the columns.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    form: Annotated[Literal["auto", "native"], typer.Option("--format", help="How the file is laid out.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Take in consents, sales, people or suppressions from a CSV file.

    KIND is consents, sales, people or suppressions. Bad rows go to FILE.rejected.csv with line and reason, good rows
    are kept; the same file again changes nothing. It lifts no opt-out.
    """
    from gateway.files.table import Refusal
    from gateway.take_in import take_in

    loaded = command.configuration(config)
    who = command.controller_of(loaded, controller)
    ring = command.key_ring(loaded)

    async def read() -> "Summary":
        async with command.opened(loaded) as store:
            with _bar(file) as progress, _few_collections():
                return await take_in(
                    file, kind, store=store, controller=who, ring=ring, now=command.now(), dry=dry_run,
                    progress=progress,
                )  # fmt: skip

    try:
        summary = command.run(read())
    except Refusal as refusal:
        raise Refused(f"{file} was not imported: {refusal}") from None
    if as_json:
        _print_json(kind, summary, dry_run)
    else:
        _print(file, summary, dry_run)


@contextlib.contextmanager
def _bar(file: Path) -> "Iterator[Progress | None]":
    """A progress bar, where somebody looks at standard error."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    look = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*look, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(file.name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Rows make many objects and no cycles: looking for cycles at the usual pace costs a seventh of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _print_json(kind: str, summary: "Summary", dry_run: bool) -> None:
    command.out({
        "kind": kind, "dry_run": dry_run, "rows": summary.rows, "kept": summary.kept, "unchanged": summary.unchanged,
        "rejected": summary.rejected, "skipped": summary.skipped,
        "unreadable": summary.unreadable, "new_people": summary.new_people,
        "opted_out": summary.stopped, "undeclared": dict(summary.unknown),
        "rejected_file": None if summary.rejected_file is None else str(summary.rejected_file),
        "first_rejected": [{"line": line, "reason": reason} for line, reason in summary.first_rejected],
    })  # fmt: skip


def _print(file: Path, summary: "Summary", dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    print(
        f"{file.name}: {summary.rows} rows: {summary.kept} {would}kept ({summary.new_people} about new people), "
        f"{summary.unchanged} unchanged, {summary.rejected} {would}rejected, {summary.skipped} {would}skipped"
    )
    if summary.skipped:
        command.say(f"{summary.skipped} rows are about people who were erased; they stay erased.")
    if summary.unreadable:
        command.say(
            f"{summary.unreadable} rows are about people whose key is missing from the keys database; they were left "
            "alone. Put the keys database back from its copy, then import again."
        )
    if summary.stopped:
        command.say(f"{summary.stopped} rows are about people who opted out; the opt-out stays in force.")
    for name, rows in sorted(summary.unknown.items()):
        command.say(f"Warning: {name} is not declared in the settings ({rows} times). No mail can be about it.")
    for line, reason in summary.first_rejected:
        command.say(f"line {line}: {reason}")
    if summary.rejected > len(summary.first_rejected):
        command.say(f"... and {summary.rejected - len(summary.first_rejected)} more.")
    if summary.rejected_file is not None:
        command.say(f"The rejected rows are in {summary.rejected_file}. Correct them there and import that file.")
