"""Commands about one person: show, erase; those of rights.py."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import command, rights
from gateway.cli.command import DEFAULT_CONFIG, Address, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused
from gateway.config import Config
from suppression.consent import Consent
from suppression.evidence import LACKS
from suppression.fields import written

if TYPE_CHECKING:
    from gateway.store.contract import Store

app = command.make_app()
person = command.make_group("One person: what is stored, and what they may ask for.")
rights.add_to(person)
app.add_typer(person, name="person")


@person.command("erase")
def erase(
    address: Address,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    as_json: Json = False,
) -> None:
    """Erase a person at one controller; GDPR article 17. What stays: a keyed hash that says not to write again."""
    from gateway.disclose import erase as carry_out
    from gateway.disclose import list_path

    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)
    ring = command.key_ring(loaded)

    async def go() -> Any:
        async with command.opened(loaded) as store:
            return await carry_out(store, loaded, ring, who.id, plain, by="command line", now=command.now())

    try:
        done = command.run(go())
    except OSError as failed:
        raise Refused(f"{list_path(loaded)} cannot be written: {failed.strerror}. Nothing was erased.") from None
    erased = done.erased
    if as_json:
        command.out({
            "controller": who.id, "recipient": erased.recipient_key, "at": done.at, "known": erased.known,
            "already": erased.already, "ended": erased.ended, "captured": erased.captured,
            "history": erased.history, "wiped": done.wiped,
        })  # fmt: skip
        return
    print(f"Erased at {who.id}{' (again)' if erased.already else ''}. No marketing will be sent to this address.")
    if not erased.known:
        print("Nothing readable was on file.")
    print(f"Waiting mail ended: {erased.ended}; captured mail dropped: {erased.captured}; mail of before made")
    print(f"anonymous: {erased.history}. Kept: a keyed hash of the address, scope sender, {written(done.at)}, erasure.")
    if not done.wiped:
        command.say("The databases are being read: the gateway empties their logs within ten minutes.")


@person.command("show")
def show(
    address: Address,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="LANG", help="Of may_receive: nl, en, fr or de; default en.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What is stored about a person at one controller, and what each stream may send now and why.

    The look is written to the ledger.
    """
    from gateway.cli.explaining import may_receive

    loaded, who = command.settings_of(config, controller)
    plain = command.known_form(address)

    async def read() -> dict[str, Any]:
        async with command.opened(loaded) as store:
            stored = await _stored(store, loaded, who.id, plain)
            return {**stored, "may_receive": await may_receive(store, loaded, who, plain, language)}

    found = command.run(read())
    if as_json:
        command.out(found)
        return
    for name, value in found.items():
        if isinstance(value, list):
            print(f"{name.replace('_', ' ')}: {len(value)}")
            for one in value:
                if name == "may_receive":
                    print(f"  {one['stream']}: {one['decision']} {one['reason_code']}. {one['text']}")
                    continue
                print(f"  {_cell(one)}")
        else:
            print(f"{name.replace('_', ' ')}: {_cell(value)}")


async def _stored(store: "Store", config: Config, controller_id: str, plain: str) -> dict[str, Any]:
    from gateway.record import looked

    one = await command.person_of(store, config, controller_id, plain)
    if one.seen:
        await looked(store, controller_id, [one.recipient_key], by="command line", now=command.now())
    standing = one.standing
    return {
        "controller": controller_id, "recipient": one.recipient_key,
        "address": await store.address(controller_id, one.recipient_key),
        "erased": any(s.reason == "erasure" and s.lifted_at is None for s in one.suppressions),
        "country": standing.country, "billing_country": standing.billing_country, "language": standing.language,
        "consents": [consent.to_dict() for consent in standing.consents],
        "proof": await _proof(store, controller_id, standing.consents),
        "attachments": [
            {
                "id": kept.attachment_id, "at": kept.at, "name": kept.name, "media_type": kept.media_type,
                "size": kept.size, "sha256": kept.sha256, "consent": kept.consent_id, "note": kept.note or None,
                "by": kept.by, "there": kept.there,
            }
            for kept in await store.attachments(controller_id, one.recipient_key)
        ],
        "sales": [sale.to_dict() for sale in standing.sales],
        "suppressions": [
            {**said.to_dict(), "lifted_for": {purpose: written(at) for purpose, at in said.lifted_for} or None}
            for said in one.suppressions
        ],
        "restrictions": [restriction.to_dict() for restriction in standing.restrictions],
        "erasure_requests": [request.to_dict() for request in standing.erasure_requests],
        "readable": one.readable,
    }  # fmt: skip


async def _proof(store: "Store", controller_id: str, consents: Sequence[Consent]) -> list[dict[str, Any]]:
    """How good the proof of each consent is, and what would raise it."""
    from gateway import appraise

    return [
        {
            "consent": one.consent.id, "purposes": list(one.consent.purposes), "grade": one.grade.level,
            "wording_on_file": one.wording is not None, "lacks": [LACKS[lack] for lack in one.grade.lacks],
        }
        for one in await appraise.graded(store, controller_id, consents)
    ]  # fmt: skip


def _cell(value: object) -> str:
    """A value as people read it. What is not known, and lists of nothing, are left out of what holds them."""
    from gateway.sentences import one_line

    if isinstance(value, dict):
        told = ((name.replace("_", " "), one) for name, one in value.items() if one not in (None, []))
        return "; ".join(
            f"{name}: ({_cell(one)})" if isinstance(one, dict) else f"{name}: {_cell(one)}" for name, one in told
        )
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.hex() if isinstance(value, bytes) else "" if value is None else one_line(str(value))
