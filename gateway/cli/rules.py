"""Commands about the rules: jurisdiction packs, the table of rules, rulings on similar products."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Misused, Refused
from gateway.cli.whatif import whatif
from gateway.packs import read_packs, read_text
from suppression.jurisdiction import PackBook, baseline, bound, pack_name
from suppression.pack import Pack, PackError, read_pack
from suppression.strictness import Difference, compare, in_words

if TYPE_CHECKING:
    from gateway.config import Config, Controller
    from gateway.sheet import Sheet

app = command.make_app()
rules = command.make_group("The rules: packs by country, the table of rules, similar products.")
similar = command.make_group("Which product categories are similar, and who ruled so.")
app.add_typer(rules, name="rules")
rules.add_typer(similar, name="similar")
rules.command("whatif")(whatif)

MaybeConfig = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", envvar="CONSENTGATE_CONFIG",
        help="The settings file. Absent and no ./consentgate.toml: the packs that ship.",
    ),
]  # fmt: skip
At = Annotated[str | None, typer.Option("--at", metavar="DATE", help="The packs of that day (UTC). Absent: of today.")]


@rules.command("list")
def list_packs(config: MaybeConfig = None, at: At = None, as_json: Json = False) -> None:
    """The packs in force, by country."""
    book, _ = _book(config)
    packs = book.on(_day(at))
    rows = [
        {
            "code": pack.code, "name": pack.name, "version": pack.version, "in_force": pack.in_force,
            "until": pack.until, "confidence": pack.confidence, "origin": _origin(pack),
        }
        for _, pack in sorted(packs.items())
    ]  # fmt: skip
    if as_json:
        for row in rows:
            command.out(row)
        return
    shown = ("code", "name", "version", "in_force", "origin", "confidence")
    command.columns([tuple(str(row[name]) for name in shown) for row in rows], shown)


@rules.command("show")
def show_pack(
    code: Annotated[str, typer.Argument(metavar="CODE", help="NL, BE, ... or UNKNOWN.")],
    config: MaybeConfig = None,
    controller: ControllerName = None,
    at: At = None,
    language: Annotated[Literal["en", "nl", "fr", "de"], typer.Option(help="Language of the words.")] = "en",
    as_json: Json = False,
) -> None:
    """One pack as it is applied: every parameter in words, and whether law or product default set it.

    The sources, the versions, and what a controller changed and why stand below.
    """
    from gateway.sheet import sheet
    from gateway.words import Words

    book, loaded = _book(config)
    wanted = code.upper()
    if wanted not in book.versions:
        raise Refused(f"There is no pack {code!r}. Known: {', '.join(sorted(book.versions))}.")
    whose = _controller(loaded, controller)
    words = Words.load()
    found = sheet(words, language, book.on(_day(at))[wanted], whose)
    if as_json:
        command.out(_as_json(found, book, whose))
        return
    print("\n".join(_page(found, book, whose, partial(words.text, language))))


def _page(found: "Sheet", book: PackBook, whose: "Controller | None", say: Callable[..., str]) -> list[str]:
    pack = found.pack
    until = "" if pack.until is None else f" ({say('rules.until', day=pack.until)})"
    lines = [
        f"{pack.code}  {found.place}", f"{say('rules.version')} {pack.version}, {say('rules.origin')}: "
        + say("rules.own" if pack.own else "rules.shipped") + (f" ({pack.file})" if pack.own else ""),
        f"{say('rules.since')} {pack.in_force}{until}",
        f"{say('rules.citations')}: {'; '.join(pack.citations)}", f"{say('rules.confidence')}: {pack.confidence}",
        *(f"  {mark}" for mark in found.marks),
    ]  # fmt: skip
    if pack.motivation:
        lines.append(f"{say('rules.own_why')}: {pack.motivation}")
    lines += ["", f"{say('rules.parameters')}:"]
    width = max(len(line.label) for line in found.lines)
    for line in found.lines:
        by = say("pack.statutory" if line.statutory else "pack.default")
        lines.append(f"  {line.label:{width}}  {line.value}  [{by}]")
        if line.yours is not None and whose is not None:
            why = f". {say('rules.motivation')}: {line.why}" if line.why else ""
            lines.append(f"  {'':{width}}  {say('rules.yours', name=whose.id)}: {line.yours}{why}")
    if found.only_consent is not None:
        why = f". {say('rules.motivation')}: {found.only_consent}" if found.only_consent else ""
        lines.append(f"  {say('rules.only_consent')}{why}")
    lines += ["", f"{say('rules.provisions')}:"]
    lines += [f"  {say(f'rules.ground.{ground}')}: {cite}" for ground, cite in pack.cite.items()]
    lines += ["", f"{say('rules.versions')}:"]
    lines += [
        f"  {one.version}  {one.in_force}  {say('rules.own' if one.own else 'rules.shipped')}"
        for one in book.versions[pack.code]
    ]
    return lines


def _as_json(found: "Sheet", book: PackBook, whose: "Controller | None") -> dict[str, Any]:
    pack = found.pack
    return {
        "code": pack.code, "name": pack.name, "version": pack.version, "in_force": pack.in_force, "until": pack.until,
        "origin": _origin(pack), "file": pack.file, "citations": list(pack.citations), "confidence": pack.confidence,
        "motivation": pack.motivation or None, "controller": whose.id if whose is not None else None,
        "require_opt_in": found.only_consent is not None,
        "parameters": [
            {
                "field": line.field, "value": _plain(line.given), "statutory": line.statutory,
                "held_to": _plain(line.held), "motivation": line.why or None,
            }
            for line in found.lines
        ],
        "cite": dict(pack.cite),
        "versions": [
            {"version": one.version, "in_force": one.in_force, "origin": _origin(one)}
            for one in book.versions[pack.code]
        ],
    }  # fmt: skip


def _plain(value: object) -> object:
    """A parameter as JSON has it."""
    if isinstance(value, frozenset):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else value


@rules.command("check")
def check_pack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pack in TOML, as those that ship.")],
    config: MaybeConfig = None,
    as_json: Json = False,
) -> None:
    """Try a draft of a pack: can it be used, in what does it differ from what ships, is it laxer there?

    Exit code 1 when it cannot be used.
    """
    book, _ = _book(config)
    try:
        draft = read_pack(str(file), read_text(file), own=True)
        others = [pack for pack in book.every() if not (pack.own and Path(pack.file).absolute() == file.absolute())]
        base = baseline(draft, book.versions)
        differences = compare(draft, base)
        bound((*others, draft))
    except PackError as wrong:
        what, _, remedy = wrong.what.partition("; ")
        if not as_json:
            raise Refused(str(wrong)) from None
        row = {"file": wrong.file, "line": wrong.line, "field": wrong.field, "what": what, "remedy": remedy or None}
        command.out(row)
        raise typer.Exit(1) from None
    laxer = any(difference.laxer for difference in differences)
    if as_json:
        command.out({
            "code": draft.code, "version": draft.version, "in_force": draft.in_force, "compared_with": base.label,
            "laxer": laxer, "differences": [_difference(one) for one in differences],
        })  # fmt: skip
        return
    print(f"{file} is good: {pack_name(draft)}, in force from {draft.in_force}. Beside {pack_name(base)} that ships:")
    for one in differences:
        mark = "laxer" if one.laxer else "not laxer"
        print(f"  {one.field}: {in_words(one.before)} -> {in_words(one.after)} ({mark})")
    if not differences:
        print("  no difference")
    elif laxer:
        print(f"It is laxer, and says why: {draft.motivation}")


def _difference(one: Difference) -> dict[str, Any]:
    return {"field": one.field, "before": in_words(one.before), "after": in_words(one.after), "laxer": one.laxer}


@rules.command("table")
def table(config: MaybeConfig = None, as_json: Json = False) -> None:
    """Every rule of the decision: its id, when it hits, the result, the law. They are the same for every installation;
    --config is taken like everywhere and changes nothing."""
    names = ("rule", "when", "result", "law")
    page = (files("suppression") / "LAW.md").read_text("utf-8")
    rows = []
    for line in page.splitlines():
        cells = [re.sub(r"`", "", cell.strip()) for cell in line.strip("|").split("|")] if line.startswith("| ") else []
        if len(cells) == 5 and cells[0] != "Rule":
            rows.append(tuple(cells[:4]))
    if as_json:
        for row in rows:
            command.out(dict(zip(names, row, strict=True)))
    else:
        command.columns(rows, names)


@similar.command("list")
def similar_list(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """Pairs of categories as they stand: from the settings, or as they were ruled last; and proposals that wait."""
    from gateway import rule

    loaded, whose = command.settings_of(config, controller)

    async def read() -> list[Any]:
        async with command.opened(loaded) as store:
            return await store.rulings(whose.id)

    rulings = command.run(read())
    rows = [
        {
            "first": row.first, "other": row.other, "similar": row.similar, "source": row.source, "why": row.why,
            "by": row.ruling.by if row.ruling else None, "second": (row.ruling.second or None) if row.ruling else None,
            "at": row.ruling.at if row.ruling else None,
        }
        for row in rule.pairs(whose, rulings)
    ]  # fmt: skip
    rows += [
        {
            "first": one.first, "other": one.other, "similar": one.similar, "source": "proposed", "why": one.why,
            "by": one.by, "second": None, "at": one.at,
        }
        for one in rule.open_proposals(rulings)
    ]  # fmt: skip
    _print(rows, ("first", "other", "similar", "source", "why", "by", "at"), as_json, "Nothing is marked as similar.")


@similar.command("rule")
def similar_rule(
    first: Annotated[str, typer.Argument(metavar="A", help="A category.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Would this customer be surprised, and why (not)?")],
    yes: Annotated[bool | None, typer.Option("--yes/--no", help="Similar, or not similar.")] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who ruled.")] = "operator",
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Rule whether two categories are similar. It counts at once, also for mail that waits; the ledger keeps it."""
    from gateway import rule

    loaded, whose = command.settings_of(config, controller)
    if yes is None:
        raise Misused("Say --yes (similar) or --no (not similar).")

    async def put() -> None:
        async with command.opened(loaded) as store:
            await rule.rule(
                store, whose, first, other, similar=yes, why=why, by=by, channel="command line", now=command.now()
            )

    try:
        command.run(put())
    except rule.NotRuled as wrong:
        raise Refused(str(wrong)) from None
    if as_json:
        command.out({"first": first, "other": other, "similar": yes, "why": why.strip(), "by": by})
    else:
        print(f"{first} and {other} are {'similar' if yes else 'not similar'} for {whose.id} from now on.")


@similar.command("questions")
def similar_questions(
    config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False
) -> None:
    """Pairs nobody ruled on that kept people out in the last 30 days, the most frequent first."""
    from gateway import rule

    loaded, whose = command.settings_of(config, controller)

    async def read() -> list[rule.Question]:
        async with command.opened(loaded) as store:
            return await rule.questions(store, whose, now=command.now())

    rows = [{"offered": q.offered, "bought": q.bought, "people": q.people} for q in command.run(read())]
    _print(rows, ("offered", "bought", "people"), as_json, "Nobody was kept out for want of a ruling.")


def _print(rows: list[dict[str, Any]], shown: tuple[str, ...], as_json: bool, empty: str) -> None:
    if as_json:
        for row in rows:
            command.out(row)
    elif rows:
        command.columns([tuple(command.cell(row[name]) for name in shown) for row in rows], shown)
    else:
        command.say(empty)


def _book(config: Path | None) -> "tuple[PackBook, Config | None]":
    """The packs of an installation; those that ship where there is none."""
    if config is None and not DEFAULT_CONFIG.is_file():
        return read_packs(), None
    loaded = command.configuration(config or DEFAULT_CONFIG)
    return loaded.packs, loaded


def _controller(loaded: "Config | None", name: str | None) -> "Controller | None":
    if loaded is None:
        if name is not None:
            raise Refused("--controller needs the settings: give --config too.")
        return None
    return command.controller_of(loaded, name) if name is not None or len(loaded.controllers) == 1 else None


def _day(text: str | None) -> date:
    if text is None:
        return command.now().date()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"--at: {text!r} is not a day. Write it as 2026-11-01.") from None
    return (at.astimezone(UTC) if at.tzinfo else at).date()


def _origin(pack: Pack) -> str:
    return "own" if pack.own else "shipped"
