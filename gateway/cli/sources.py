"""Commands about lists of third parties: where they came from, and who checked them. A group under `consent`."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused
from suppression.fields import written
from suppression.provenance import BuyerCheck, ListSource, SellerCheck, SourceError

if TYPE_CHECKING:
    from gateway.store.contract import Store
    from gateway.store.material import KeptSource

source = command.make_group("Lists of third parties: who sold them, and who checked them.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The list's short name, such as expo2026.")]
Day = Annotated[
    str | None, typer.Option("--on", metavar="DATE", help="When it was checked: 2026-11-22; absent: today.")
]


@source.command("add")
def add(
    name: Name,
    seller: Annotated[str, typer.Option(metavar="NAME", help="Who collected it and passes it on; recipients read it.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    kind: Annotated[
        Literal["purchased_list", "third_party_share"], typer.Option(help="Bought, or shared by a partner.")
    ] = "purchased_list",
    as_json: Json = False,
) -> None:
    """Open the file about a list. Its consents count once seller and buyer both checked it (RULES D1-13)."""
    try:
        made = ListSource(name=name, kind=kind, seller=seller.strip(), version=1)
    except SourceError as wrong:
        raise Refused(f"{name}: {wrong}.") from None
    _keep(config, controller, name, lambda newest: made if newest is None else None, as_json)


@source.command("check")
def check(
    name: Name,
    by: Annotated[Literal["seller", "buyer"], typer.Option(help="Whose side is written down.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    record: Annotated[
        str, typer.Option(metavar="TEXT", help="Seller: how and where the addresses were collected.")
    ] = "",
    wording: Annotated[str, typer.Option(metavar="TEXT", help="Seller: what people were shown.")] = "",
    sharing: Annotated[
        str, typer.Option(metavar="TEXT", help="Seller: how they agreed that it is passed on, and to whom.")
    ] = "",
    sample: Annotated[int, typer.Option(min=0, help="Buyer: how many people of the list were checked.")] = 0,
    good: Annotated[int | None, typer.Option(min=0, help="Buyer: for how many all was right; absent: all.")] = None,
    checker: Annotated[str, typer.Option(metavar="NAME", help="Buyer: who checked.")] = "",
    result: Annotated[str, typer.Option(metavar="TEXT", help="Buyer: what was found.")] = "",
    on: Day = None,
    as_json: Json = False,
) -> None:
    """Write down the check of one side. The newest counts; every version is kept."""
    day = _day(on)
    changes: dict[str, Any] = {}
    if by == "seller":
        changes["seller_check"] = SellerCheck(
            record=record.strip(), wording=wording.strip(), sharing_consent=sharing.strip(), checked_on=day
        )
    else:
        changes["buyer_check"] = BuyerCheck(
            sample=sample, good=sample if good is None else good, checker=checker.strip(), result=result.strip(),
            checked_on=day,
        )  # fmt: skip

    def checked(newest: ListSource | None) -> ListSource | None:
        return None if newest is None else newest.next(**changes)

    _keep(config, controller, name, checked, as_json)


def _keep(config: Any, controller: str | None, name: str, make: Any, as_json: bool) -> None:
    """Keep the version that `make` gives for the newest one; None is refused."""
    from gateway.store.material import NameTaken

    loaded, who = command.settings_of(config, controller)

    async def keep() -> ListSource:
        async with command.opened(loaded) as store:
            newest = await _newest(store, who.id, name)
            made: ListSource | None = make(newest)
            if made is None and newest is None:
                raise Refused(f"There is no list {name!r} at {who.id}. Known: consentgate consent source list")
            if made is None:
                raise Refused(f"The list {name!r} has a file already. See: consentgate consent source show {name}")
            await store.keep_source(who.id, made, at=command.now())
            return made

    try:
        kept = command.run(keep())
    except SourceError as wrong:
        raise Refused(f"{name}: {wrong}. Nothing was kept.") from None
    except NameTaken as taken:
        raise Refused(f"{taken}.") from None
    if as_json:
        command.out(_row(kept))
        return
    print(f"Kept version {kept.version} of the file about {name}.")
    _say_missing(kept)


async def _newest(store: "Store", controller_id: str, name: str) -> ListSource | None:
    versions = await store.sources(controller_id, name)
    return versions[0].source if versions else None


@source.command("tell")
def tell(
    name: Name,
    not_before: Annotated[
        str | None,
        typer.Option("--not-before", metavar="INSTANT", help="When they leave, with zone; absent: now."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Have everybody on a list told by letter who passed their address on; GDPR article 14, within a month.

    Whom mail on the ground of such a consent has reached was told by its footer, and gets none; nobody gets two.
    """
    from gateway.cli.rights import instant_of
    from gateway.inform import Informed, inform

    loaded, who = command.settings_of(config, controller)
    due_at = command.now() if not_before is None else instant_of(not_before, "--not-before")

    async def go() -> Informed:
        async with command.opened(loaded) as store:
            if not await store.sources(who.id, name):
                raise Refused(f"There is no list {name!r} at {who.id}. See: consentgate consent source list")
            with command.counting_bar("people") as bar:
                watch = None if bar is None else lambda seen: bar(name, seen, 0)
                return await inform(store, who, name, due_at=due_at, dry=dry_run, progress=watch)

    done = command.run(go())
    if as_json:
        command.out({"controller": who.id, "list": name, "on_list": done.on_list, "owed": done.owed, "dry": dry_run})
        return
    print(f"On the list: {done.on_list}. {'To be told' if dry_run else 'Letters owed now'}: {done.owed}.")


@source.command("list")
def list_all(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """Every list, and whether it counts as verified."""
    found = _read(config, controller, None)
    if as_json:
        for one in found:
            command.out(_row(one.source) | {"at": one.at})
    elif not found:
        command.say("There is no list of a third party on file.")
    else:
        command.columns(
            [
                (
                    one.source.name, one.source.kind, one.source.seller, str(one.source.version), written(one.at),
                    "verified" if one.source.complete else "not verified",
                )
                for one in found
            ],
            ("name", "kind", "seller", "version", "kept", "state"),
        )  # fmt: skip


@source.command("show")
def show(
    name: Name, config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False
) -> None:
    """The file about one list, every version, newest first."""
    found = _read(config, controller, name)
    if not found:
        raise Refused(f"There is no list {name!r}. Known: consentgate consent source list")
    for one in found:
        if as_json:
            command.out(_row(one.source) | {"at": one.at})
            continue
        said = one.source
        print(f"{said.name}, version {said.version}, kept {written(one.at)}: {said.kind} of {said.seller}")
        if said.seller_check is not None:
            seller = said.seller_check
            print(f"  seller, {seller.checked_on}: record: {seller.record}; wording: {seller.wording}; "
                  f"consent to sharing: {seller.sharing_consent}")  # fmt: skip
        if said.buyer_check is not None:
            buyer = said.buyer_check
            print(
                f"  buyer, {buyer.checked_on}: {buyer.good} of {buyer.sample} right; {buyer.result} ({buyer.checker})"
            )
    if not as_json:
        _say_missing(found[0].source)


def _read(config: Any, controller: str | None, name: str | None) -> "list[KeptSource]":
    loaded, who = command.settings_of(config, controller)

    async def read() -> "list[KeptSource]":
        async with command.opened(loaded) as store:
            return await store.sources(who.id, name)

    return command.run(read())


def _say_missing(said: ListSource) -> None:
    if said.complete:
        command.say("Both sides checked it: rows that say seller_verified and buyer_verified count as verified.")
        command.say("Import them again where they were imported before.")
    for one in said.missing():
        command.say(f"Not verified yet: {one}.")


def _row(said: ListSource) -> dict[str, Any]:
    return {**said.to_dict(), "complete": said.complete, "missing": list(said.missing())}


def _day(text: str | None) -> date:
    today = command.now().date()
    if text is None:
        return today
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Refused(f"--on {text!r} is no date. Write it as 2026-11-22.") from None
    if day > today:
        raise Refused(f"--on {text} lies in the future: write down a check that was made.")
    return day
