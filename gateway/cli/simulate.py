"""The command simulate: the verdict on a list or a rehearsed campaign, and the release of its lawful part."""

import contextlib
import csv
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from gateway import rehearse
from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused
from gateway.config import Config, Controller, Stream
from gateway.files.outgoing import harmless
from gateway.files.recipients import recipients as read_recipients
from gateway.files.table import LINE_BYTES, Refusal
from gateway.keys import signers
from gateway.mail.reply import Reply
from gateway.rehearse import Campaign, Judged, Outlook
from gateway.weigh import Case, Scales
from gateway.words import Words
from suppression.address import canonical, masked
from suppression.reason_code import ACTOR

if TYPE_CHECKING:
    from gateway.report import CampaignRow
    from gateway.store.contract import Store
    from gateway.store.rehearsal import Moved

app = command.make_app()

COLUMNS = ("number", "email", "decision", "reason_code", "ground", "cite", "lacking")


@app.command("simulate")
def simulate(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="The stream it would be sent on.")] = None,
    recipients: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="One address a line, or CSV with a column email; - is standard input."),
    ] = None,
    message: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The mail itself; its kind and its opt-out count then.")
    ] = None,
    purpose: Annotated[str | None, typer.Option(metavar="NAME", help="What it is about, instead.")] = None,
    category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A product category of it, instead; may be repeated.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="ID", help="A campaign that a stream in mode rehearse took in.")
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Send what is lawful of that campaign now.")] = False,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show sample addresses in full.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every recipient's verdict to a new CSV file (0600).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Decide as if the mail were sent now: how many may receive it, why others may not, what could be mended.

    With --recipients nothing is written anywhere. With --campaign it is a rehearsed campaign, decided anew; --release
    then sends the copies that are lawful now and keeps out the others, once.
    """
    if (recipients is None) == (campaign is None):
        raise Misused("Say either --recipients FILE with --stream NAME, or --campaign ID.")
    loaded = command.configuration(config)
    if campaign is not None:
        if message or purpose or category or out:
            raise Refused("--message, --purpose, --category and --out go with --recipients: a campaign has its own.")
        _campaign(loaded, controller, stream, campaign, release=release, addresses=addresses, as_json=as_json)
        return
    if release:
        raise Refused("--release goes with --campaign: a list was never handed in, so there is nothing to send.")
    if stream is None or recipients is None:
        raise Refused("--recipients needs --stream NAME: what may be sent depends on the kind of mail.")
    who, on = command.stream_of(loaded, controller, stream)
    case = _case(who, on, message, purpose, category or [])
    outlook = _list(loaded, who, on, case, recipients, out, as_json)
    _tell(outlook, addresses, as_json, {"controller": who.id, "stream": on.name}, _as_what(who, on, case))


def _case(who: Controller, on: Stream, message: Path | None, purpose: str | None, categories: list[str]) -> Case:
    for name, declared, what in (
        *((one, who.categories, "category") for one in categories),
        *([(purpose, who.purposes, "purpose")] if purpose else []),
    ):
        if name not in declared:
            raise Refused(f"--{what}: there is no {what} {name!r}. Known: {', '.join(declared) or 'none'}.")
    raw = None
    if message is not None:
        try:
            raw = message.read_bytes()
        except OSError as error:
            raise Refused(f"--message: {message} cannot be read: {error.strerror}.") from None
        if b"\0" in raw:
            raise Refused(f"--message: {message} holds a NUL byte, so it is no mail.")
        raw = re.sub(rb"\r\n|\r|\n", b"\r\n", raw)
    case = rehearse.case_of(who, on, message=raw, purpose=purpose, categories=categories)
    if isinstance(case, Reply):
        raise Refused(f"This message would be refused: {case.line}")
    return case


def _list(
    config: Config, who: Controller, on: Stream, case: Case, source: str, out: Path | None, as_json: bool
) -> Outlook:
    outlook = Outlook()

    async def decide() -> None:
        async with command.opened(config) as store:
            scene = rehearse.Scene(store, _scales(config), command.key_ring(config), case, who, on)
            with _lines(source) as lines, _rows(out) as each, bar() as progress:
                await scene.simulate(
                    read_recipients(lines), outlook, now=command.now(), each=each, progress=progress
                )  # fmt: skip

    try:
        command.run(decide())
    except Refusal as refusal:
        raise Refused(f"{'standard input' if source == '-' else source}: {refusal}") from None
    return outlook


def _scales(config: Config) -> Scales:
    return Scales(config, frozenset(signers(config)))


@contextlib.contextmanager
def _lines(source: str) -> Iterator[Iterator[bytes]]:
    """The lines of a list, none longer than is sane."""
    with contextlib.ExitStack() as stack:
        try:
            stream: BinaryIO = sys.stdin.buffer if source == "-" else stack.enter_context(Path(source).open("rb"))
        except OSError as error:
            raise Refused(f"--recipients: {source} cannot be read: {error.strerror}.") from None
        yield iter(lambda: stream.readline(LINE_BYTES + 2), b"")


@contextlib.contextmanager
def _rows(out: Path | None) -> Iterator[Callable[[Judged], None] | None]:
    """Where every recipient's verdict goes: a new file, whole or none; cells never run as formulas."""
    if out is None:
        yield None
        return
    with command.new_text(command.new_place(out), "utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)

        def write(one: Judged) -> None:
            decision = one.ruling.decision
            cells = (
                str(one.number), one.address, decision.verdict, decision.reason_code, decision.basis or "",
                decision.cite, one.lacking,
            )  # fmt: skip
            writer.writerow(harmless(cells))

        yield write


def _campaign(
    config: Config, controller: str | None, stream: str | None, name: str, *, release: bool, addresses: bool,
    as_json: bool,
) -> None:  # fmt: skip
    names = [one.id for one in command.controllers_of(config, controller)]
    scales, ring, outlook = _scales(config), command.key_ring(config), Outlook()

    async def decide() -> "tuple[CampaignRow, Moved | None]":
        from gateway.notice import Notices

        async with command.opened(config) as store:
            row = await _find(store, names, stream, name)
            chosen = Campaign(controller_id=row.controller, stream=row.stream, campaign=row.campaign)
            try:
                with bar(row.open) as progress:
                    await rehearse.simulate_campaign(
                        store, config, scales, ring, chosen, outlook, now=command.now(), progress=progress
                    )
                if not release:
                    return row, None
                notices = Notices(config, Words.load(config.own_templates), scales, ring)
                with bar(row.open) as progress:
                    return row, await rehearse.release(
                        store, config, scales, notices, ring, chosen, by="command line", clock=command.now,
                        progress=progress,
                    )  # fmt: skip
            except LookupError as error:
                raise Refused(f"{error.args[0]}: add it to the settings again, or let the rehearsal lapse.") from None

    row, moved = command.run(decide())
    about: dict[str, Any] = {"controller": row.controller, "stream": row.stream, "campaign": row.campaign}
    about |= {"accepted": row.accepted, "open": row.open, "unreadable": outlook.unreadable}
    if moved is not None:
        about |= {"sent": moved.queued, "kept_out": moved.blocked}
    title = f"Campaign {row.campaign!r} on {row.controller}/{row.stream}: {row.accepted:,} rehearsed, {row.open:,} open"
    _tell(outlook, addresses, as_json, about, title)
    if moved is not None and not as_json:
        print(f"\nReleased: {moved.queued:,} go to the queue, {moved.blocked:,} are kept out.")
    if outlook.unreadable:
        command.say(f"{outlook.unreadable:,} copies cannot be opened: their key is gone. They lapse after five days.")
    if release and moved is not None and not (moved.queued or moved.blocked):
        raise Refused("There was nothing to release: it was released before, or lapsed.")


async def _find(store: "Store", controllers: list[str], stream: str | None, name: str) -> "CampaignRow":
    """The rehearsed campaign of a name; Refused where there is none, or several."""
    from gateway import report

    rows = await report.campaigns(store, controllers=controllers, limit=100_000, rehearsed=True)
    found = [row for row in rows if row.campaign == name and stream in (None, row.stream)]
    if not found:
        known = ", ".join(dict.fromkeys(repr(row.campaign) for row in rows[:10])) or "none yet"
        raise Refused(f"No campaign {name!r} was rehearsed. The latest: {known}. See: consentgate report campaigns")
    if len(found) > 1:
        where = ", ".join(f"{row.controller}/{row.stream}" for row in found)
        raise Refused(f"Campaign {name!r} was rehearsed on {where}: say which with --controller and --stream.")
    return found[0]


def _as_what(who: Controller, on: Stream, case: Case) -> str:
    kind = ", ".join(filter(None, (case.message_class, case.purpose, *case.categories)))
    return f"As if sent now on {who.id}/{on.name} ({kind})"


def _tell(outlook: Outlook, addresses: bool, as_json: bool, about: dict[str, Any], title: str) -> None:
    words = Words.load()
    rescues = [
        {
            "reason_code": code, "count": count, "lacking": lacking, "who": ACTOR[code],
            "next_step": words.reason(code, "en").next_step,
        }
        for (code, lacking), count in outlook.rescues.most_common()
    ]  # fmt: skip
    samples = {
        code: [one if addresses else masked(canonical(one) or "") or "(no address)" for one in found]
        for code, found in outlook.samples.items()
    }
    verdicts = {verdict: outlook.verdicts[verdict] for verdict in ("allow", "block", "defer")}
    if as_json:
        command.out({
            **about, "recipients": outlook.decided, "allowed": verdicts["allow"], "blocked": verdicts["block"],
            "deferred": verdicts["defer"], "by_reason": dict(outlook.reasons.most_common()),
            "by_ground": dict(outlook.grounds.most_common()), "rescue": rescues, "samples": samples,
        })  # fmt: skip
        return
    print(f"{title}: {outlook.decided:,} recipients, {verdicts['allow']:,} may receive it.")
    for code, count in outlook.reasons.most_common():
        said = "" if code.startswith("ALLOW_") else f"  {words.reason(code, 'en').sentence}"
        print(f"{count:>10,}  {code:<38}{said}".rstrip())
        print(f"{'':12}e.g. {', '.join(dict.fromkeys(samples[code]))}")
    if rescues:
        print("\nWhat could be mended, and by whom:")
    for one in rescues:
        detail = f" ({str(one['lacking']).replace('_', ' ')})" if one["lacking"] else ""
        print(f"{one['count']:>10,}  {one['reason_code']}{detail}: {one['who']}. {one['next_step']}")


@contextlib.contextmanager
def bar(total: int | None = None, unit: str = "recipients") -> Iterator[Callable[[int], None] | None]:
    """A count that moves, where somebody looks at standard error."""
    with command.counting_bar(unit) as tell:
        yield None if tell is None else lambda done: tell("decided", done, total or 0)
