"""What the ledger amounts to now, per person: the projection that the decision reads.

A standing is kept as one JSON document per person and controller. `apply` turns a document and one ledger entry's
fields into the next document; replaying a person's entries in order gives the same document. `read` turns a document
into the values of facts.py. Suppressions stand in a list of their own: no change of a standing can lose an opt-out.

Document: {"consents": [...], "sales": [...]} with records as in the decision schema less `controller_id`'s repetition;
"withdrawals": [{"at", "purpose", "ref"}], objections and complaints among them; "recipient": declared facts about the
person; "country", "billing_country", "language"; "restrictions" and "erasure_requests", as in the schema, each with
"ref"; "undeliverable"; "mailed": instants of marketing that left (pack IE, RULES.md section 3); "confirmations":
[{"at", "purpose"}], mails that asked to confirm a sign-up (B6).

Fields of the entries that change it, public and private together; more may stand beside them:

- consent, opt_in_requested, sale: the record as in the decision schema, and `sign_up`: how and where it was said;
- opt_in_confirmed: `id` of the consent, `at`, `parental_authorisation` where a parent confirmed; it proves that the
  address works; opt_in_expired: `id`;
- person: any of the recipient's facts, `country`, `billing_country`, `language`, `unless_known`;
- withdrawal, objection, complaint: `at`, `purpose` (absent or null: all), `ref`; withdrawal_undone: `ref`;
- restriction: `ref`, `controller_id`, `scope`, `purpose`, `from`; restriction_lifted: `ref`, `at`;
- rectification: `changed`, facts as in a person's entry with their new values, null for "not known"; `was`, by the same
  names, SHA-256 of what stood there. A record is corrected by another entry with its id;
- erasure_request: `ref`, `controller_id`, `received_at`, `status`; again with the same `ref` when it is answered;
- import_undone: the parts of the document that IMPORTED names, as they are without that import; null for none;
- undeliverable: `undeliverable`; mailed: `at`; confirmation_sent: `at`, `purpose`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from suppression.facts import Consent, ErasureRequest, Recipient, Restriction, Sale

Document = dict[str, Any]

EMPTY: Mapping[str, Any] = {}
BROUGHT_BY: Final = "import"
"""The public field of an entry that names the import which brought it. It is no part of a record."""
STAYS: Final = "stays"
"""The public field of such an entry whose row itself spoke of an opt-out, which stays when the import is undone."""
IMPORTED: Final = ("consents", "sales", "recipient", "country", "billing_country", "language", "undeliverable")
"""The parts of a document that an import writes, and that are set anew when it is undone."""
SIGN_UP = "sign_up"
"""The field of a consent's entry that tells of its form, mail and language; no part of the record."""
_MARKS = frozenset({BROUGHT_BY, STAYS, SIGN_UP})
LINK = timedelta(days=300)
"""Of mailings closer together than this only the first and the last are kept: shorter than any pack's rolling window,
so that the walk of D4 reaches as far as with all of them, from a sale at any instant."""
UNKNOWN_RECIPIENT: Mapping[str, Any] = {
    "kind": "unknown", "address_kind": "unknown", "address_source": "unknown", "published_for_marketing": False,
    "informed_at_collection": False, "birth_date": None, "parental_authorisation": False,
    "on_exclusion_register": False,
}  # fmt: skip
DECLARED = ("country", "billing_country", "language")
"""Declared facts that stand beside those of the recipient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One person at one controller. `known` as in DESIGN: a consent, sale, import or request, not a mere mailing."""

    known: bool
    recipient: Recipient
    consents: tuple[Consent, ...]
    sales: tuple[Sale, ...]
    restrictions: tuple[Restriction, ...]
    erasure_requests: tuple[ErasureRequest, ...]
    country: str | None
    billing_country: str | None
    language: str | None


_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def load(stored: bytes) -> Document:
    """A document from its stored bytes."""
    document: Document = json.loads(stored)
    return document


def dump(document: Document) -> bytes:
    """A document as it is stored."""
    return _COMPACT(document).encode()


def opening(kind: str, record: bytes) -> bytes | None:
    """What `dump(apply({}, kind, fields))` amounts to for fields given as JSON; None for kinds that hold no record."""
    return b'{"%ss":[%s]}' % (kind.encode(), record) if kind in ("consent", "sale") else None


def holds(stored: bytes, record: bytes) -> bool:
    """Whether a stored document has this very record, given as canonical JSON; False may also mean: look closer.

    Inside a text of the document the record's quotation marks would be escaped, so that it is not mistaken for one.
    """
    return record in stored


def apply(document: Mapping[str, Any], kind: str, fields: Mapping[str, Any]) -> Document:
    """The document after one more entry. Pure; the argument is not changed.

    A record whose id is on file corrects that one; the same record again changes nothing. A person's facts are those
    declared last; `unless_known` holds the values of those that nobody declared.
    """
    after: Document = dict(document)
    effect = _EFFECTS.get(kind)
    if effect is not None:
        effect(after, fields)
    return after


def record_of(fields: Mapping[str, Any]) -> Document:
    """The consent or sale that an entry states, without what the entry says about itself."""
    return {name: value for name, value in fields.items() if name not in _MARKS}


def _record(after: Document, fields: Mapping[str, Any], kind: str) -> None:
    name = kind + "s"
    records = after.get(name, ())
    stated = _with_record(records, record_of(fields), kind)
    if stated is not records:
        after[name] = stated


def _opt_in_confirmed(after: Document, fields: Mapping[str, Any]) -> None:
    """The first confirmation counts; one of a record that is not on file changes nothing."""
    records = after.get("consents", ())
    for place, record in enumerate(records):
        asked = record["double_opt_in"]
        if record["id"] == fields["id"] and asked["confirmed_at"] is None:
            confirmed = {**record, "double_opt_in": {**asked, "confirmed_at": fields["at"]}}
            if fields.get("parental_authorisation"):
                confirmed["parental_authorisation"] = True
            after["consents"] = [*records[:place], confirmed, *records[place + 1 :]]
            if after.get("undeliverable"):
                after["undeliverable"] = False  # a link that was mailed there was followed
            return


def _opt_in_expired(after: Document, fields: Mapping[str, Any]) -> None:
    """The request goes, unless it was confirmed; a withdrawal it carries stays with it."""
    records = after.get("consents", ())
    kept = [
        record for record in records
        if record["id"] != fields["id"] or record["double_opt_in"]["confirmed_at"] or record["withdrawn_at"]
    ]  # fmt: skip
    if len(kept) < len(records):
        after["consents"] = kept


def _person(after: Document, fields: Mapping[str, Any]) -> None:
    declared = {k: v for k, v in fields.items() if k in UNKNOWN_RECIPIENT}
    after["recipient"] = {**fields.get("unless_known", EMPTY), **after.get("recipient", EMPTY), **declared}
    after.update({k: fields[k] for k in DECLARED if fields.get(k)})


def _withdrawal(after: Document, fields: Mapping[str, Any]) -> None:
    made = {"at": fields["at"], "purpose": fields.get("purpose"), "ref": fields["ref"]}
    after["withdrawals"] = [*after.get("withdrawals", ()), made]


def _withdrawal_undone(after: Document, fields: Mapping[str, Any]) -> None:
    after["withdrawals"] = [w for w in after.get("withdrawals", ()) if w["ref"] != fields["ref"]]


def _restriction(after: Document, fields: Mapping[str, Any]) -> None:
    """One that is on file is left as it is: a second entry cannot make it end."""
    restrictions = after.get("restrictions", ())
    if all(one["ref"] != fields["ref"] for one in restrictions):
        made = {name: fields.get(name) for name in ("ref", "controller_id", "scope", "purpose", "from")}
        after["restrictions"] = [*restrictions, {**made, "lifted_at": None}]


def _restriction_lifted(after: Document, fields: Mapping[str, Any]) -> None:
    if "restrictions" in after:
        after["restrictions"] = [
            {**one, "lifted_at": fields["at"]} if one["ref"] == fields["ref"] and one["lifted_at"] is None else one
            for one in after["restrictions"]
        ]


def _rectification(after: Document, fields: Mapping[str, Any]) -> None:
    for name, value in fields["changed"].items():
        if name in UNKNOWN_RECIPIENT:
            right = UNKNOWN_RECIPIENT[name] if value is None else value
            after["recipient"] = {**after.get("recipient", EMPTY), name: right}
        elif name in DECLARED and value is None:
            after.pop(name, None)
        elif name in DECLARED:
            after[name] = value


def _erasure_request(after: Document, fields: Mapping[str, Any]) -> None:
    made = {name: fields[name] for name in ("ref", "controller_id", "received_at", "status")}
    others = [one for one in after.get("erasure_requests", ()) if one["ref"] != fields["ref"]]
    after["erasure_requests"] = [*others, made]


def _undeliverable(after: Document, fields: Mapping[str, Any]) -> None:
    after["undeliverable"] = fields["undeliverable"]


def _mailed(after: Document, fields: Mapping[str, Any]) -> None:
    after["mailed"] = _with_mailing(after.get("mailed", ()), fields["at"])


def _confirmation_sent(after: Document, fields: Mapping[str, Any]) -> None:
    sent = {"at": fields["at"], "purpose": fields["purpose"]}
    after["confirmations"] = [*after.get("confirmations", ()), sent]


def _import_undone(after: Document, fields: Mapping[str, Any]) -> None:
    for name in IMPORTED:
        if fields.get(name) is None:
            after.pop(name, None)
        else:
            after[name] = fields[name]


_EFFECTS: Mapping[str, Callable[[Document, Mapping[str, Any]], None]] = {
    "consent": partial(_record, kind="consent"),
    "opt_in_requested": partial(_record, kind="consent"),
    "opt_in_confirmed": _opt_in_confirmed,
    "opt_in_expired": _opt_in_expired,
    "sale": partial(_record, kind="sale"),
    "person": _person,
    "withdrawal": _withdrawal,
    "objection": _withdrawal,
    "complaint": _withdrawal,
    "withdrawal_undone": _withdrawal_undone,
    "restriction": _restriction,
    "restriction_lifted": _restriction_lifted,
    "rectification": _rectification,
    "erasure_request": _erasure_request,
    "undeliverable": _undeliverable,
    "mailed": _mailed,
    "confirmation_sent": _confirmation_sent,
    "import_undone": _import_undone,
}
"""What an entry does to the document, by kind; the others change no standing. Each gets a copy and may put new values
into it; the values that stand there already are shared with the document before, and are replaced, never changed."""


def _with_mailing(mailed: Sequence[str], at: str) -> list[str]:
    """The mailings with one more, without those that no walk of the rolling window needs (D4 check 13)."""
    kept = sorted({*mailed, at})
    while len(kept) > 2 and datetime.fromisoformat(kept[-1]) - datetime.fromisoformat(kept[-3]) <= LINK:
        del kept[-2]
    return kept


def _with_record(records: Sequence[Document], new: Document, kind: str) -> Sequence[Document]:
    """The records with one more, or with one corrected; the same object where nothing changes.

    A correction loses no opt-out: a withdrawal and a refusal at collection stay. Records that share an id but cannot be
    the same act (other purposes, another sale) are kept apart, the later one under an id of its own.
    """
    for place, old in enumerate(records):
        if old["id"] != new["id"]:
            continue
        if old == new:
            return records
        if not (_same_consent(old, new) if kind == "consent" else _same_sale(old, new)):
            mark = hashlib.sha256(json.dumps(new, sort_keys=True).encode()).hexdigest()[:12]
            return _with_record(records, {**new, "id": f"{new['id']}#{mark}"}, kind)
        corrected = _corrected_consent(old, new) if kind == "consent" else _corrected_sale(old, new)
        return records if corrected == old else [*records[:place], corrected, *records[place + 1 :]]
    return [*records, new]


def _same_consent(old: Document, new: Document) -> bool:
    if old["withdrawn_at"] is not None and new["given_at"] is not None and new["given_at"] > old["withdrawn_at"]:
        return False  # agreed anew after the withdrawal: another act
    return not old["purposes"] or not new["purposes"] or not set(old["purposes"]).isdisjoint(new["purposes"])


def _same_sale(old: Document, new: Document) -> bool:
    return bool((old["kind"], old["concluded_at"]) == (new["kind"], new["concluded_at"]))


def _corrected_consent(old: Document, new: Document) -> Document:
    """The new statement, still withdrawn where the old one was, and for no fewer purposes (RULES.md 2.1.12)."""
    if old["withdrawn_at"] is None:
        return new
    ended = min(old["withdrawn_at"], new["withdrawn_at"] or old["withdrawn_at"])
    more = [purpose for purpose in old["purposes"] if purpose not in new["purposes"]]
    return {**new, "withdrawn_at": ended, "purposes": [*new["purposes"], *more]}


def _corrected_sale(old: Document, new: Document) -> Document:
    """The new statement; an opt-out once used stays used, and one once missing stays missing (D4, 8 and 10)."""
    return {
        **new,
        "opt_out_used_at_collection": old["opt_out_used_at_collection"] or new["opt_out_used_at_collection"],
        "opt_out_in_all_messages": old["opt_out_in_all_messages"] and new["opt_out_in_all_messages"],
    }


def read(document: Mapping[str, Any], *, address_valid: bool = True) -> Standing:
    """The document as facts. A document that cannot be read raises facts.FactsError: the caller defers."""
    records = document.get("consents", ())
    withdrawals = [(datetime.fromisoformat(w["at"]), w["purpose"]) for w in document.get("withdrawals", ())]
    confirmations = document.get("confirmations", ())
    consents = tuple(
        part for record in records for part in _withdrawn(_asked(Consent.from_dict(record), confirmations), withdrawals)
    )
    mailed = document.get("mailed", ())
    sales = tuple(
        Sale.from_dict({**sale, "marketing_sent_at": [*sale["marketing_sent_at"], *mailed]} if mailed else sale)
        for sale in document.get("sales", ())
    )
    known = document.get("recipient") is not None or any(
        document.get(said) for said in ("consents", "sales", "withdrawals", "restrictions", "erasure_requests")
    )
    recipient = {
        **UNKNOWN_RECIPIENT, **document.get("recipient", EMPTY),
        "address_valid": address_valid, "undeliverable": bool(document.get("undeliverable")), "known": known,
    }  # fmt: skip
    return Standing(
        known=known, recipient=Recipient.from_dict(recipient), consents=consents, sales=sales,
        restrictions=tuple(Restriction.from_dict(_nameless(one)) for one in document.get("restrictions", ())),
        erasure_requests=tuple(
            ErasureRequest.from_dict(_nameless(one)) for one in document.get("erasure_requests", ())
        ),
        country=document.get("country"), billing_country=document.get("billing_country"),
        language=document.get("language"),
    )  # fmt: skip


def _nameless(one: Mapping[str, Any]) -> Document:
    """A restriction or request as in the schema, without the id that the ledger knows it by."""
    return {name: value for name, value in one.items() if name != "ref"}


def _asked(consent: Consent, confirmations: Sequence[Mapping[str, Any]]) -> Consent:
    """The consent with the confirmation mails counted that we sent for it since it was requested (B6)."""
    asked_at = consent.double_opt_in.requested_at
    if not confirmations or asked_at is None:
        return consent
    sent = sum(
        1 for mail in confirmations
        if mail["purpose"] in consent.purposes and datetime.fromisoformat(mail["at"]) >= asked_at
    )  # fmt: skip
    if not sent:
        return consent
    counted = replace(consent.double_opt_in, mails_sent=consent.double_opt_in.mails_sent + sent)
    return replace(consent, double_opt_in=counted)


def _withdrawn(consent: Consent, withdrawals: list[tuple[datetime, str | None]]) -> tuple[Consent, ...]:
    """The consent with the first withdrawals that end it, each of its purpose or of all, not older than the act.

    A record without a time, or imported later with an earlier time, is ended too (RULES.md 2.1.12, D1-6). One that
    covers several purposes is ended only for those withdrawn (RULES.md 5.2.6): its purposes are then told apart.
    """
    if not withdrawals:
        return (consent,)
    acts = (consent.given_at, consent.double_opt_in.confirmed_at)
    last_act = max((at for at in acts if at is not None), default=None)
    ends = [(at, purpose) for at, purpose in withdrawals if last_act is None or last_act <= at]
    ended: dict[datetime | None, list[str]] = {}
    for purpose in consent.purposes:
        first = min((at for at, named in ends if named in (None, purpose)), default=None)
        ended.setdefault(_earlier(consent.withdrawn_at, first), []).append(purpose)
    if not consent.purposes:
        first = min((at for at, named in ends if named is None), default=None)
        ended[_earlier(consent.withdrawn_at, first)] = []
    if len(ended) == 1:
        at = next(iter(ended))
        return (consent if at == consent.withdrawn_at else replace(consent, withdrawn_at=at),)
    return tuple(replace(consent, purposes=tuple(purposes), withdrawn_at=at) for at, purposes in ended.items())


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)
