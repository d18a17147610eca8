"""What is on file about one person, put together for them (GDPR art. 15), and what they may take along (art. 20).

Reads only. Staff is not named to the person: what matters is what was done and when (C-579/21). Access has everything,
what was derived included; portability has what the person provided and what was observed of them, nothing derived.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.addressees import companies
from gateway.config import Config, Controller
from gateway.store.contract import Store
from gateway.store.history import Decided, History
from gateway.store.returned import ReturnedRow
from gateway.who import whose
from suppression.consent import Consent
from suppression.evidence import grade
from suppression.fields import written
from suppression.history import Entry
from suppression.ledger import KINDS
from suppression.standing import Standing
from suppression.vault import KeyRing

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST: Final = 100_000
"""Decisions about one person; there are never more."""
UNTOLD: Final = frozenset({"by", "ref", "import", "stays", "controller_id", "unless_known", "was"})
"""Fields of entries that are ours: who of the staff, ids, marks, hashes of what stood before."""
RIGHTS: Final = (
    "access", "rectification", "erasure", "restriction", "portability", "objection", "withdrawal", "complaint",
)  # fmt: skip
"""Rights of the person, as the page words them (GDPR art. 13(2), 15(1)(e)-(f))."""
LEFT: Final = frozenset({"delivered"})
"""States of a copy whose content was handed to the next mail server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """Plain values, ready for JSON. `known` False: nothing is on file. `readable` False: some of it does not open."""

    known: bool
    readable: bool
    recipient_key: bytes
    language: str | None
    access: dict[str, Any]
    portable: dict[str, Any]
    proofs: Sequence[tuple[str, bytes]]
    """Files that prove consents, by name."""


async def gather(
    store: Store, config: Config, controller: Controller, ring: KeyRing, plain: str, *, now: datetime
) -> Dossier:
    """Everything about one person at one controller. `plain`: the normalised address."""
    who = whose(ring, controller.id, plain)
    [person], [history] = await store.people([who]), await store.histories([who])
    profile = await store.profile(controller.id, person.recipient_key)
    decisions = await store.decided_about(controller.id, who.recipient_keys, since=BEGINNING, n=MOST)
    standing = person.standing
    declared = {
        "country": standing.country, "billing_country": standing.billing_country, "language": standing.language,
        **{name: value for name, value in standing.recipient.to_dict().items() if name not in _FOUND},
    }  # fmt: skip
    said = dict(profile.said) if profile is not None else {}
    opt_outs = list(_opt_outs(history))
    consents = [await _consent(store, controller.id, consent) for consent in standing.consents]
    attached = await store.attachments(controller.id, person.recipient_key)
    contents = [
        (one.name, await store.attachment(controller.id, person.recipient_key, one.attachment_id)) for one in attached
    ]  # fmt: skip
    access = {
        "made_at": written(now.astimezone(UTC).replace(microsecond=0)), "controller": _controller(controller),
        "person": {
            **said, "address": plain,
            "first_seen": None if profile is None else written(profile.first_seen.replace(microsecond=0)),
        },
        "declared": declared if standing.known else {},
        "consents": consents, "sales": [sale.to_dict() for sale in standing.sales], "opt_outs": opt_outs,
        "sign_ups": [
            {"at": written(one.at.replace(microsecond=0)), "confirmed": one.done, "ip": one.trace["ip"],
             "user_agent": one.trace.get("user_agent")}
            for one in await store.sign_ups_of(controller.id, person.recipient_key) if one.trace.get("ip")
        ],
        "proofs": [{"name": one.name, "consent": one.consent_id, "sha256": one.sha256} for one in attached],
        "restrictions": [one.to_dict() for one in standing.restrictions],
        "erasure_requests": [one.to_dict() for one in standing.erasure_requests],
        "derived": {"undeliverable": standing.recipient.undeliverable},
        "came_back": [
            _came_back(row) for row in await store.came_back(controller.id, recipient_key=person.recipient_key, n=MOST)
        ],
        "decisions": [_decision(one) for one in decisions],
        "history": list(_history(history)),
        "purposes": {name: dict(purpose.title) for name, purpose in controller.purposes.items()},
        "recipients": _recipients(config, controller, decisions),
        "told": _told(controller, await store.hosts_told(controller.id, person.recipient_key)),
        "sources": _sources(standing),
        "rights": list(RIGHTS),
    }  # fmt: skip
    return Dossier(
        known=bool(standing.known or said or opt_outs or decisions),
        readable=person.readable and not history.unreadable,
        recipient_key=person.recipient_key, language=standing.language, access=access,
        proofs=[(name, content) for name, content in contents if content is not None],
        portable={
            "made_at": access["made_at"], "controller": access["controller"], "person": {**said, "address": plain},
            "provided": {
                "declared": access["declared"], "consents": [consent.to_dict() for consent in standing.consents],
                "sales": access["sales"],
            },
            "observed": {"opt_outs": opt_outs, "mail": [_mail(one) for one in decisions if one.state in LEFT]},
        },
    )  # fmt: skip


def _came_back(row: ReturnedRow) -> dict[str, Any]:
    """A report, complaint or reply: what servers said, and the person's own words where they are kept."""
    return {
        "at": written(row.at.replace(microsecond=0)),
        "kind": row.bounce_class if row.kind == "bounce" else row.kind, "reason": row.reason, "status": row.status,
        "said": row.content.get("said"), "subject": row.content.get("subject"), "text": row.content.get("text"),
    }  # fmt: skip


_FOUND: Final = frozenset({"address_valid", "undeliverable", "known"})
"""Facts about a recipient that the gateway found, and nobody declared."""


def flat(portable: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What may be taken along as rows: where it comes from, which fact, its value."""
    yield from _flat("person", portable["person"])
    for origin in ("provided", "observed"):
        for name, value in portable[origin].items():
            yield from _flat(f"{origin}.{name}", value)


def _flat(path: str, value: object) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(inner, str) for inner in value):
            yield (*_named(path), " | ".join(value))
        else:
            for number, inner in enumerate(value, 1):
                yield from _flat(f"{path}.{number}", inner)
    elif value is not None:
        yield (*_named(path), str(value).lower() if isinstance(value, bool) else str(value))


def _named(path: str) -> tuple[str, str]:
    where, _, name = path.rpartition(".")
    return where, name


def _controller(controller: Controller) -> dict[str, Any]:
    return {
        "name": controller.legal_name, "postal_address": controller.postal_address,
        "contact": controller.opt_out_contact, "privacy_notice": controller.notice_url,
        "privacy_notice_version": controller.notice_version,
    }  # fmt: skip


async def _consent(store: Store, controller_id: str, consent: Consent) -> dict[str, Any]:
    """A consent with what was shown, where that is on file, and how good its proof is (derived)."""
    version = consent.evidence.wording_version
    kept = await store.wording(controller_id, version) if version is not None else None
    shown = None if kept is None else {name: said for name, said in asdict(kept.wording).items() if said is not None}
    graded = grade(consent, wording_on_file=kept is not None)
    return {**consent.to_dict(), "shown": shown, "proof_grade": graded.level}


def _opt_outs(history: History) -> Iterator[dict[str, Any]]:
    for place in (history.own, *history.elsewhere):
        for row in place.listed.values():
            yield {
                "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "source": row.source,
                "at": _instant(row.at), "lifted_at": None if row.lifted_at is None else _instant(row.lifted_at),
                "lifted_for": [{"purpose": purpose, "at": _instant(at)} for purpose, at in row.lifted_for],
            }  # fmt: skip


def _history(history: History) -> Iterator[dict[str, Any]]:
    entries: list[Entry] = sorted(
        (entry for place in (history.own, *history.elsewhere) for entry in place.entries), key=lambda one: one.entry_id
    )
    for entry in entries:
        fields = {name: value for name, value in entry.fields.items() if name not in UNTOLD}
        yield {"at": _instant(entry.at), "kind": entry.kind, "what": KINDS.get(entry.kind, entry.kind), "said": fields}


def _decision(one: Decided) -> dict[str, Any]:
    return {
        **_mail(one), "message": one.message_id.hex(), "decision": one.verdict, "reason_code": one.reason_code,
        "article": one.cite, "decided_at": written(one.as_of.replace(microsecond=0)), "rules": list(one.trace),
        "law_applied": one.packs, "state": one.state,
    }  # fmt: skip


def _mail(one: Decided) -> dict[str, Any]:
    return {
        "at": written(one.accepted_at.replace(microsecond=0)), "stream": one.stream, "campaign": one.campaign,
        "subject": one.subject,
    }  # fmt: skip


def _recipients(config: Config, controller: Controller, decisions: Sequence[Decided]) -> list[str]:
    """Who got the data by name (C-154/21): the mail servers that copies were handed to."""
    used = {one.stream for one in decisions if one.state in LEFT}
    routes = {controller.streams[name].route for name in used if name in controller.streams}
    return sorted({one.host for route in routes if route in config.routes for one in config.routes[route].hosts})


def _told(controller: Controller, hosts: Sequence[str]) -> list[str]:
    """Which other systems were told, each with whose it is where the settings say so."""
    whose_it_is = companies(controller)
    return [f"{whose_it_is[host]}, {host}" if host in whose_it_is else host for host in hosts]


def _sources(standing: Standing) -> list[str]:
    """Where the data came from, as records and declarations say (GDPR art. 15(1)(g))."""
    found = {consent.evidence.origin or consent.source for consent in standing.consents}
    declared = standing.recipient.address_source
    return sorted(found | ({declared} if declared != "unknown" else set()))


def _instant(ms: int) -> str:
    return written(datetime.fromtimestamp(ms // 1000, UTC))
