"""Commands about people: consent, suppress. Files of people are taken in by imports.py."""

from typing import Annotated, Any, Literal

import typer
import uuid_utils

from gateway import record
from gateway.cli import command
from gateway.cli.attachments import attach, list_attachments
from gateway.cli.command import DEFAULT_CONFIG, Address, ConfigPath, ControllerName, Json
from gateway.cli.forms import form
from gateway.cli.refusal import Refused
from gateway.cli.sources import source
from gateway.cli.wordings import wording
from gateway.config import Controller
from gateway.store.contract import Act, SuppressionRow
from suppression.evidence import SPOKEN, STAFF_METHOD
from suppression.fields import written

app = command.make_app()
consent = command.make_group("Record a consent, and keep what proves consents.")
suppress = command.make_group("The list of people who must not be mailed.")
app.add_typer(consent, name="consent")
app.add_typer(suppress, name="suppress")
consent.add_typer(wording, name="wording")
consent.add_typer(form, name="form")
consent.add_typer(source, name="source")
consent.command("attach")(attach)
consent.command("attachments")(list_attachments)

PAGE = 500


@consent.command("add")
def add_consent(
    address: Address,
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="What proves it: who said it, when, where it is kept.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    purpose: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be repeated; absent: every purpose of the controller.")
    ] = None,
    source: Annotated[
        Literal["own_form", "own_paper", "own_oral"], typer.Option(help="How the consent was given.")
    ] = "own_oral",
    wording_name: Annotated[
        str | None, typer.Option("--wording", metavar="NAME", help="What was shown or read out: see `consent wording`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Record that a person agreed, one consent per purpose. It lifts no suppression: an opt-out stays in force."""
    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)
    purposes = purpose or list(who.purposes)
    if unknown := [name for name in purposes if name not in who.purposes]:
        raise Refused(f"There is no purpose {unknown[0]!r} at {who.id}. Known: {', '.join(who.purposes)}.")
    if not evidence.strip():
        raise Refused("--evidence is empty: say what proves the consent.")
    records = [_consent(who, name, source, evidence.strip(), wording_name) for name in purposes]

    async def put() -> list[SuppressionRow]:
        async with command.opened(loaded) as store:
            if wording_name is not None and await store.wording(who.id, wording_name) is None:
                raise Refused(
                    f"There is no wording {wording_name!r} at {who.id}. See: consentgate consent wording list"
                )
            person = await command.person_of(store, loaded, who.id, plain)
            at = command.now()
            if any(row.reason == "erasure" and row.lifted_at is None for row in person.suppressions):
                raise Refused("This person was erased and asked not to be written to again. Nothing was recorded.")
            await store.record([
                Act(
                    controller_id=who.id, recipient_key=person.recipient_key, kind="consent",
                    public={"id": one["id"], "purposes": one["purposes"]}, private=one, at=at, address=plain,
                )
                for one in records
            ])  # fmt: skip
            return [row for row in await store.suppressions_of(who.id, person.recipient_key) if row.lifted_at is None]

    standing = command.run(put())
    for one in records:
        if as_json:
            command.out({"id": one["id"], "purpose": one["purposes"][0], "suppressed": bool(standing)})
        else:
            command.say(f"Recorded consent {one['id']} for {one['purposes'][0]}.")
    if standing and not as_json:
        command.say("A suppression of this person stands, so marketing stays blocked. See: consentgate suppress list")


def _consent(
    controller: Controller, purpose: str, source: str, evidence: str, wording_name: str | None
) -> dict[str, Any]:
    """A consent record as in the decision schema, entered by staff."""
    action = {"own_form": "active_tick", "own_paper": "signed", "own_oral": "oral_recorded"}[source]
    return {
        "id": str(uuid_utils.uuid7()), "controller_id": controller.id, "source": source, "named_recipients": [],
        "purposes": [purpose], "product_categories": None, "advertisers": [],
        "given_at": written(command.now().replace(microsecond=0)), "withdrawn_at": None, "expires_at": None,
        "last_interaction_at": None,
        "evidence": {
            "method": STAFF_METHOD, "wording_version": wording_name or SPOKEN,
            "privacy_notice_version": controller.notice_version or None, "origin": evidence,
        },
        "action": action, "bundled_with_terms": False, "conditional_on_service": False, "granular": True,
        "double_opt_in": {"required": False, "requested_at": None, "confirmed_at": None, "mails_sent": 0},
        "parental_authorisation": False, "sharing_consent": False, "seller_verified": False, "buyer_verified": False,
        "explicit_special_category": False,
    }  # fmt: skip


@suppress.command("add")
def add_suppression(
    address: Address,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    purpose: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this purpose; absent: all marketing.")
    ] = None,
    reason: Annotated[
        Literal["unsubscribe", "objection", "complaint", "admin"], typer.Option(help="Why.")
    ] = "unsubscribe",
    as_json: Json = False,
) -> None:
    """Put a person on the list; it counts for every decision from now on."""
    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)
    if purpose is not None and purpose not in who.purposes:
        raise Refused(f"There is no purpose {purpose!r} at {who.id}. Known: {', '.join(who.purposes)}.")

    async def put() -> record.OptOut:
        async with command.opened(loaded) as store:
            person = await command.person_of(store, loaded, who.id, plain)
            return await record.suppress(
                store, who.id, person.recipient_key, purpose=purpose, reason=reason, source="staff", now=command.now(),
                address=plain,
            )  # fmt: skip

    done = command.run(put())
    if as_json:
        shown = {"reference": done.reference, "scope": done.scope, "purpose": done.purpose}
        command.out({**shown, "at": done.at, "already": done.already})
    else:
        what = f"purpose {done.purpose}" if done.purpose else "all marketing"
        command.say(f"{'Was' if done.already else 'Is'} on the list for {what} of {who.id} since {written(done.at)}.")


@suppress.command("list")
def list_suppressions(
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    addresses: Annotated[bool, typer.Option("--addresses", help="Show addresses instead of recipient keys.")] = False,
    as_json: Json = False,
) -> None:
    """Everybody on the list, lifted entries included."""
    loaded = command.configuration(config)
    names = [one.id for one in command.controllers_of(loaded, controller)]

    async def show() -> None:
        nobody = True
        async with command.opened(loaded) as store:
            for name in names:
                after = (b"", b"")
                while page := await store.suppression_page(name, after=after, n=PAGE, addresses=addresses):
                    after, nobody = (page[-1].recipient_key, page[-1].suppression_id), False
                    _show(page, addresses, as_json)
        if nobody and not as_json:
            command.say("Nobody is on the list.")

    command.run(show())


def _show(page: list[SuppressionRow], addresses: bool, as_json: bool) -> None:
    cells: list[tuple[str, ...]] = []
    for row in page:
        recipient = row.address if addresses and row.address else row.recipient_key.hex()
        shown = {
            "controller": row.controller_id,
            "recipient": recipient,
            "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "source": row.source, "at": row.at,
            "lifted_at": row.lifted_at, "lifted_for": [purpose for purpose, _ in row.lifted_for],
        }  # fmt: skip
        if as_json:
            command.out(shown)
        else:
            until = written(row.lifted_at) if row.lifted_at else ""
            if row.lifted_for and not until:
                until = "for " + " ".join(purpose for purpose, _ in row.lifted_for)
            cells.append((
                recipient, row.scope, row.purpose or "", row.reason, row.source, written(row.at), until,
            ))  # fmt: skip
    if cells:
        command.columns(cells, ("recipient", "scope", "purpose", "reason", "source", "at", "lifted"))
