"""The commands `import`: a file of people into memory, the list of imports, and one taken back."""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

import typer

from gateway.cli import command, differences
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from gateway.clerk import Summary
    from gateway.config import Config, Controller
    from gateway.files.vendor import Terms
    from gateway.foresee import Foreseen
    from gateway.move_in import MovedIn
    from gateway.take_in import Progress

Kind = Literal["all", "consents", "sales", "people", "suppressions"]
FormName = Literal[
    "auto", "native", "mailchimp", "brevo", "sendgrid", "mailgun", "ses", "postmark", "listmonk", "usesend", "hashes"
]
ActionName = Literal["active_tick", "active_other", "signed", "oral_recorded", "pre_ticked", "silence", "unknown"]
SourceName = Literal["own_form", "own_paper", "own_oral", "imported_legacy"]
HELP: Final = {
    "all": "Take in what another tool's file holds: opt-outs, people, consents.",
    "consents": "Take in consents; opt-outs of the same file come with them.",
    "sales": "Take in customer relations.",
    "people": "Take in facts about people; opt-outs of the same file come with them.",
    "suppressions": "Take in opt-outs.",
}
MORE: Final = (
    " The format is found by the header line; KIND all takes what another tool's file holds. Bad rows go to"
    " FILE.rejected.csv with line and reason, good rows are kept; the same file again changes nothing. It lifts no"
    " opt-out."
)

app = command.make_app()
imports = command.make_group("Take in a file of people; list imports; take one back.")
app.add_typer(imports, name="import")


def _add(kind: Kind) -> None:
    """The command of one kind: all have the same options."""

    @imports.command(kind, help=HELP[kind] + MORE)
    def import_file(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON in UTF-8, or a ZIP of such files.")],
        config: ConfigPath = DEFAULT_CONFIG,
        controller: ControllerName = None,
        form: Annotated[FormName, typer.Option("--format", help="Which tool the file is from.")] = "auto",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")] = False,
        diff: Annotated[
            str | None,
            typer.Option("--diff", metavar="FILE", help="With --dry-run: each row, addresses too; - to print."),
        ] = None,
        zone: Annotated[
            str, typer.Option("--timezone", metavar="ZONE", help="Of dates that name none, such as Europe/Amsterdam.")
        ] = "UTC",
        by: Annotated[str, typer.Option(metavar="NAME", help="Who imports, and states what the file cannot say.")] = "",
        purpose: Annotated[
            list[str] | None, typer.Option(metavar="NAME", help="Stated: agreed to this purpose. May be repeated.")
        ] = None,
        wording: Annotated[str, typer.Option(metavar="NAME", help="Stated: the wording that was shown.")] = "",
        notice: Annotated[str, typer.Option("--notice-version", metavar="V", help="Stated: the notice linked.")] = "",
        method: Annotated[str, typer.Option(metavar="TEXT", help="Stated: how, such as web_form.")] = "",
        action: Annotated[ActionName | None, typer.Option(help="Stated: what the person did.")] = None,
        source: Annotated[SourceName | None, typer.Option(help="Stated: where it was collected.")] = None,
        given: Annotated[
            str, typer.Option("--given", metavar="COLUMN", help="Stated: this column is when people agreed.")
        ] = "",
        separate: Annotated[
            bool,
            typer.Option("--separate", help="Stated: a choice of its own, outside terms, nothing refused without."),
        ] = False,
        single: Annotated[
            bool, typer.Option("--single-opt-in", help="Stated: no confirmation from the mailbox was called for.")
        ] = False,
        list_name: Annotated[
            str | None,
            typer.Option("--list", metavar="NAME", help="The third party's list they come from; see `consent source`."),
        ] = None,
        as_json: Json = False,
    ) -> None:
        loaded, who = command.settings_of(config, controller)
        from gateway.files.vendor import Terms, plain

        terms = Terms(
            now=command.now(), zone=_zone(zone), purposes=tuple(purpose or ()), wording=wording.strip(),
            notice=notice.strip(), method=method.strip(), action=action or "", source=source or "", separate=separate,
            single_opt_in=single, given_column=plain(given), by=by.strip() or "command line",
        )  # fmt: skip
        _check(terms, who, named=bool(by.strip()))
        if diff is not None and not dry_run:
            raise Refused("--diff tells what a dry run would change: add --dry-run.")
        with contextlib.ExitStack() as stack:
            tell = None if diff is None else stack.enter_context(differences.written(diff, as_json=as_json))
            done = _run(kind, file, form, terms, who, loaded, dry_run, list_name, tell)
        if as_json:
            _print_json(done, dry_run)
        else:
            with contextlib.redirect_stdout(sys.stderr if diff == "-" else sys.stdout):
                _print(done, dry_run)


for _kind in get_args(Kind):
    _add(_kind)


def _zone(name: str) -> tzinfo:
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Refused(f"There is no time zone {name!r}. Write it as Europe/Amsterdam or UTC.") from None


def _check(terms: "Terms", who: "Controller", *, named: bool) -> None:
    """What is stated has to be possible, and somebody has to state it."""
    for name in terms.purposes:
        if name not in who.purposes:
            raise Refused(f"There is no purpose {name!r} at {who.id}. Known: {', '.join(who.purposes)}.")
    if terms.stated and not named:
        raise Refused(f"You state something of all rows ({', '.join(terms.stated)}): say who you are with --by NAME.")


def _run(
    kind: Kind, file: Path, form: FormName, terms: "Terms", who: "Controller", loaded: "Config", dry_run: bool,
    list_name: str | None, tell: "Callable[[Foreseen], None] | None",
) -> "MovedIn":  # fmt: skip
    from gateway.files.table import Refusal
    from gateway.foresee import Foresight
    from gateway.move_in import move_in
    from gateway.take_in import Desk

    ring = command.key_ring(loaded)
    if list_name is not None and kind not in ("all", "consents"):
        raise Refused(f"--list says where consents come from; {kind} have none. Leave it out.")

    async def read() -> "MovedIn":
        async with command.opened(loaded) as store:
            if list_name is not None and not await store.sources(who.id, list_name):
                raise Refused(
                    f"There is no list {list_name!r} at {who.id}; nothing was imported. Make its file first: "
                    f"consentgate consent source add {list_name} --seller NAME"
                )
            if terms.wording and await store.wording(who.id, terms.wording) is None:
                command.say(
                    f"Warning: no wording {terms.wording!r} is kept at {who.id}, so nobody can see what it said. "
                    "Keep it: consentgate consent wording add"
                )
            desk = Desk(
                store=store,
                controller=who,
                ring=ring,
                now=terms.now,
                dry=dry_run,
                list_name=list_name,
                foresight=None if tell is None else Foresight(tell),
            )
            with _bar(file.name) as progress, _few_collections():
                return await move_in(file, kind, form=form, desk=desk, terms=terms, progress=progress)

    try:
        return command.run(read())
    except Refusal as refusal:
        raise Refused(f"{file} was not imported: {refusal}") from None


@imports.command("list")
def list_imports(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Every import, the oldest first: id, time, what, from where, by whom, rows kept, and whether it stands."""
    loaded, who = command.settings_of(config, controller)

    async def show() -> None:
        async with command.opened(loaded) as store:
            found = await store.imports(who.id)
        cells = []
        for one in found:
            state = "undone" if one.undone_at else "stands" if one.counts is not None else "cut short or under way"
            if as_json:
                command.out({
                    "id": one.import_id.hex(), "controller": one.controller_id, "at": one.at, "kind": one.kind,
                    "format": one.form, "sha256": one.digest.hex(), "by": one.by, "stated": dict(one.stated),
                    "counts": one.counts, "undone_at": one.undone_at, "state": state,
                })  # fmt: skip
            kept = "" if one.counts is None else str(one.counts.get("kept", 0))
            cells.append((one.import_id.hex(), f"{one.at:%Y-%m-%dT%H:%M:%SZ}", one.kind, one.form, one.by, kept, state))
        if cells and not as_json:
            command.columns(cells, ("id", "at", "kind", "format", "by", "kept", "state"))
        elif not as_json:
            command.say("Nothing was imported yet.")

    command.run(show())


@imports.command("undo")
def undo(
    import_id: Annotated[str, typer.Argument(metavar="ID", help="As `import list` shows it, or enough of its start.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who takes it back.")] = "command line",
    as_json: Json = False,
) -> None:
    """Take an import back: what it added goes. Opt-outs it brought stay, and so does whatever came later."""
    from gateway.take_back import TakenBack, take_back

    loaded, who = command.settings_of(config, controller)

    async def go() -> TakenBack:
        async with command.opened(loaded) as store:
            found = [one for one in await store.imports(who.id) if one.import_id.hex().startswith(import_id.lower())]
            if len(found) != 1 or len(import_id) < 6:
                many = "Several imports begin so" if len(found) > 1 else f"There is no import {import_id!r} at {who.id}"
                raise Refused(f"{many}. See: consentgate import list")
            with counted("people looked at") as progress:
                return await take_back(
                    store, found[0], by=by.strip() or "command line", now=command.now(), progress=progress
                )

    done = command.run(go())
    if as_json:
        command.out({
            "id": done.brought.import_id.hex(), "already": done.already, "undone_at": done.brought.undone_at,
            "people": done.changed, "opted_out": done.opted_out, "unknown": done.unknown,
            "unreadable": done.unreadable,
        })  # fmt: skip
    elif done.already:
        print(f"Was taken back at {done.brought.undone_at:%Y-%m-%dT%H:%M:%SZ}; nothing changed.")
    else:
        print(
            f"Taken back for {done.changed} people: {done.unknown} are unknown again, {done.opted_out} keep an opt-out "
            "it brought."
        )
    if done.unreadable:
        command.say(f"{done.unreadable} people have entries that cannot be read; they were left as they are.")


@contextlib.contextmanager
def _bar(name: str) -> "Iterator[Progress]":
    """A progress bar where somebody looks at standard error, else a line every tenth of the way."""
    if not sys.stderr.isatty():
        told = 0

        def line(done: int, total: int) -> None:
            nonlocal told
            tenth = done * 10 // total if total else 10
            if told < tenth < 10 and total > LARGE:
                told = tenth
                command.say(f"{name}: {tenth}0 %")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    look = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*look, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


LARGE: Final = 5_000_000
"""Bytes from which on an import takes long enough to be told how far it is."""


@contextlib.contextmanager
def counted(what: str) -> Iterator[Callable[[int], None]]:
    """A counter where somebody looks at standard error, else a line every hundred thousand."""
    watched, told = sys.stderr.isatty(), 0

    def line(done: int) -> None:
        nonlocal told
        if watched:
            print(f"\r{done} {what}", end="", file=sys.stderr, flush=True)
        elif done // 100_000 > told:
            told = done // 100_000
            command.say(f"{done} {what}")

    yield line
    if watched:
        print(file=sys.stderr)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Rows make many objects and no cycles: looking for cycles at the usual pace costs a seventh of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _print_json(done: "MovedIn", dry_run: bool) -> None:
    """One object a kind and part; for a file from another tool one more, of kind all, with everything added up."""
    whole = {"format": done.form, "import": None if done.import_id is None else done.import_id.hex()}
    for one in done.taken:
        summary = one.summary
        command.out({
            "kind": one.kind, "part": one.part, **whole, "dry_run": dry_run, "rows": summary.rows,
            "kept": summary.kept, "unchanged": summary.unchanged, "outweighed": summary.outweighed,
            "rejected": summary.rejected,
            "skipped": summary.skipped, "unreadable": summary.unreadable, "new_people": summary.new_people,
            "opted_out": summary.stopped,
            "undeclared": dict(summary.unknown),
            "rejected_file": None if summary.rejected_file is None else str(summary.rejected_file),
            "first_rejected": [{"line": line, "reason": reason} for line, reason in summary.first_rejected],
        })  # fmt: skip
    if done.form != "native":
        command.out({
            "kind": "all", **whole, "dry_run": dry_run, **done.counts, "notes": dict(done.notes),
            "contradictions": done.contradicted,
            "first_contradictions": [
                {"part": one.part, "line": one.line, "opt_out_part": one.other_part, "opt_out_line": one.other_line}
                for one in done.contradictions
            ],
        })  # fmt: skip


def _print(done: "MovedIn", dry_run: bool) -> None:
    from gateway.move_in import describe

    if done.form != "native":
        print(f"Format: {describe(done.form)}")
    for one in done.taken:
        _print_summary(one.part if done.form == "native" else f"{one.part}, {one.kind}", one.summary, dry_run)
    if not done.taken:
        print("No row says anything that counts here.")
    for note, rows in sorted(done.notes.items()):
        command.say(f"{note}: {rows}")
    for pair in done.contradictions[:SHOWN]:
        command.say(
            f"{pair.part} line {pair.line}: agreed, and opted out in {pair.other_part} line {pair.other_line}. "
            "The opt-out stands."
        )
    if done.contradicted > SHOWN:
        command.say(f"... and {done.contradicted - SHOWN} more that contradict an opt-out of the same file.")
    if done.import_id is not None and done.counts.get("kept"):
        command.say(f"To take it back: consentgate import undo {done.import_id.hex()}")


SHOWN: Final = 10
"""Pairs of rows that are told at once."""


def _print_summary(name: str, summary: "Summary", dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    print(
        f"{name}: {summary.rows} rows: {summary.kept} {would}kept ({summary.new_people} about new people), "
        f"{summary.unchanged} unchanged, {summary.rejected} {would}rejected, {summary.skipped} {would}skipped"
    )
    if summary.outweighed:
        command.say(
            f"{summary.outweighed} rows prove less of a consent than the record on file; the better record stays."
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
    for unknown, rows in sorted(summary.unknown.items()):
        if unknown.startswith("list "):
            say = f"Warning: {unknown} has no file ({rows} times), so it counts as unverified. See: consent source add"
        else:
            say = f"Warning: {unknown} is not declared in the settings ({rows} times). No mail can be about it."
        command.say(say)
    for line, reason in summary.first_rejected:
        command.say(f"{name} line {line}: {reason}")
    if summary.rejected > len(summary.first_rejected):
        command.say(f"{name}: ... and {summary.rejected - len(summary.first_rejected)} more.")
    if summary.rejected_file is not None:
        command.say(f"The rejected rows are in {summary.rejected_file}. Correct them there and import that file.")
