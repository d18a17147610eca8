"""Facts into a decision: what configuration, message and store know, laid before the law.

Used at acceptance and again at hand-over (P2), with the same words each time. It reads no clock and no store.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from gateway.config import MARKETING, Config, Controller, Stream
from gateway.store.contract import Person, Ruling
from suppression import standing as standings
from suppression.consent import Consent
from suppression.decision import Decision, decide
from suppression.facts import Exemption, Facts, Message, MessageClass, Recipient, Sender, Unsubscribe
from suppression.frozen import quick_init
from suppression.jurisdiction import UNKNOWN, CountrySource, PackBook, Packs, resolve
from suppression.observe import observe
from suppression.provenance import obtained_from
from suppression.restriction import ErasureRequest, Restriction
from suppression.similarity import NOTHING_RULED, Category, Pair, Ruled, similar_pairs
from suppression.suppression_list import Suppression, for_purpose

_Record = TypeVar("_Record", Suppression, Restriction, ErasureRequest, Consent)
_NOBODY = standings.read({})
_NO_ADDRESS = standings.read({}, address_valid=False).recipient


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a message is, for the law and for the report; stored with it as JSON, without personal data.

    `authorised`: the login may send for the stream. `from_domain`: lower-case A-label of the From field, "" when it
    cannot be read. `unsubscribe` as in the decision schema. `matched`: how the class was found, shown to staff.
    `signs`: what in service mail looks like advertising (promotional.Sign); `handling`: what was done about it
    (lookalikes.Handling); `skeleton`, `likeness`: by which mail like it is known again.
    """

    message_class: MessageClass
    promotional: bool
    purpose: str | None
    categories: tuple[str, ...]
    transaction_ref: bool
    restriction_exemption: Exemption | None
    unsubscribe: Unsubscribe
    from_domain: str
    authorised: bool = True
    language: str | None = None
    matched: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    handling: str = ""
    skeleton: str = ""
    likeness: str = ""

    def to_json(self) -> dict[str, object]:
        """What `from_json` reads. Every value is plain: `dataclasses.asdict` would copy each, for every message."""
        return {name: getattr(self, name) for name in _CASE}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Case":
        lists = {name: tuple(stored.get(name, ())) for name in ("categories", "matched", "signs")}
        return cls(**{**stored, **lists})

    @property
    def marketing(self) -> bool:
        """Whether the law treats it as marketing (RULES.md 2.2, effective class)."""
        return self.promotional or self.message_class in MARKETING


_CASE = tuple(field.name for field in fields(Case))

Weigh = Callable[[Person | None, dt.datetime], Ruling]
"""One message on the scales: a recipient (None: the address is no address) and an instant give a ruling."""
Gather = Callable[[Person | None, dt.datetime], tuple[Facts, CountrySource]]
"""The same, before the decision: the facts, and where the country came from."""


class Scales:
    """Weighs one recipient of one message. Made anew when the configuration changes.

    `signing_domains`: controller and From domain for which a key of theirs can be used (keys.signers).
    """

    def __init__(self, config: Config, signing_domains: frozenset[tuple[str, str]]) -> None:
        self._config = config
        self._signing_domains = signing_domains
        self._packs: dict[str, PackBook] = {}
        self._categories: dict[str, tuple[Category, ...]] = {}
        self._pairs: dict[str, tuple[Ruled, frozenset[Pair]]] = {}
        self._labels: dict[tuple[str, tuple[str, ...], CountrySource], tuple[Packs, str]] = {}
        for controller in config.controllers.values():
            self._packs[controller.id] = controller.held_to(config.packs)
            self._categories[controller.id] = controller.category_tree

    def packs(self, controller_id: str, at: dt.datetime) -> Packs:
        """The packs in force for a controller at an instant, as it is held to them."""
        return self._packs[controller_id].at(at)

    def book(self, controller_id: str) -> PackBook:
        """All versions of the packs as a controller is held to them."""
        return self._packs[controller_id]

    def lay(self, case: Case, controller: Controller, stream: Stream) -> Weigh:
        """A message on the scales."""
        gather = self.gather(case, controller, stream)

        def weigh(person: Person | None, now: dt.datetime) -> Ruling:
            facts, source = gather(person, now)
            return self.rule(stream, facts, source, person)

        return weigh

    def rule(self, stream: Stream, facts: Facts, source: CountrySource, person: Person | None) -> Ruling:
        """The ruling on facts that were gathered for this stream and person."""
        now = facts.as_of
        packs = self._packs[stream.controller].at(now)
        decision = (observe if stream.mode_at(now) == "observe" else decide)(facts, packs)
        return Ruling(
            decision=decision, as_of=now, packs=self._applied(stream.controller, facts.jurisdictions, packs, source),
            language=person.standing.language if person is not None else None,
            obtained_from=obtained_from(decision, facts.consents),
        )  # fmt: skip

    def gather(self, case: Case, controller: Controller, stream: Stream) -> Gather:
        """The facts about a message, to be completed by its recipient and the instant."""
        known = self._packs[controller.id].versions
        advertiser = stream.advertiser
        listed = case.from_domain in stream.from_domains
        upstream = self._config.signing(stream) == "upstream"
        sender = Sender(
            # Nobody may write in a name that is not the controller's; for marketing it is E2 that says so.
            controller_id=controller.id, principal_authorised=case.authorised and (listed or case.marketing),
            legal_name_present=bool(controller.legal_name and (advertiser is None or advertiser.legal_name)),
            postal_address_present=bool(controller.postal_address),
            opt_out_contact_present=bool(controller.opt_out_contact),
            from_domain_verified=listed and (upstream or case.from_domain in controller.signing_domains),
            is_charity=controller.is_charity, directed_at_children=stream.directed_at_children,
        )  # fmt: skip
        message = Message(
            message_class=case.message_class,
            promotional_content=case.promotional, purpose=case.purpose, product_categories=case.categories,
            advertiser_id=advertiser.id if advertiser is not None else controller.id,
            charitable_only=stream.charitable_only, uses_special_category=stream.uses_special_category,
            b2b_relevant=stream.b2b_relevant,
            transaction_ref_present=case.transaction_ref,
            restriction_exemption=case.restriction_exemption,
            unsubscribe=case.unsubscribe,
            ad_identifiable=stream.ad_identifiable,
        )  # fmt: skip
        default_country = controller.default_country if controller.default_country_motivation else None
        dkim_ready = upstream or (controller.id, case.from_domain) in self._signing_domains

        def gather(person: Person | None, now: dt.datetime) -> tuple[Facts, CountrySource]:
            standing = person.standing if person is not None else _NOBODY
            codes, source = resolve(
                standing.country, standing.billing_country, default_country, controller.country or None, known
            )
            facts = Facts(
                as_of=now, jurisdictions=codes, stores_available=person is None or person.readable,
                dkim_ready=dkim_ready, sender=sender, message=message, recipient=_recipient(person),
                suppressions=_begun(_for_purpose(person, case.purpose), "at", now),
                restrictions=_begun(standing.restrictions, "since", now),
                erasure_requests=_begun(standing.erasure_requests, "received_at", now),
                consents=_begun(standing.consents, "withdrawn_at", now), sales=standing.sales,
                similar_categories=self.similar(controller.id, person.ruled if person is not None else NOTHING_RULED),
            )  # fmt: skip
            return facts, source

        return gather

    def similar(self, controller_id: str, ruled: Ruled) -> frozenset[Pair]:
        """The pairs of similar categories of a controller: those of its settings, and what was ruled since."""
        known = self._pairs.get(controller_id)
        if known is None or (known[0] is not ruled and known[0] != ruled):  # asked for every copy: mostly the same one
            known = ruled, similar_pairs(self._categories[controller_id], ruled)
            self._pairs[controller_id] = known
        return known[1]

    def _applied(self, controller_id: str, codes: tuple[str, ...], packs: Packs, source: CountrySource) -> str:
        """`applied_packs`, joined once for each country and not for each copy."""
        known = self._labels.get((controller_id, codes, source))
        if known is None or known[0] is not packs:  # other versions came into force
            known = packs, applied_packs(codes, packs, source)
            self._labels[controller_id, codes, source] = known
        return known[1]

    def rolling(self, controller_id: str, ruling: Ruling) -> bool:
        """Whether a mailing on this ruling keeps a customer relation's window open (pack IE, RULES.md section 3)."""
        packs = self._packs[controller_id].at(ruling.as_of)
        return any(code in packs and packs[code].soft_opt_in_time_rule == "rolling" for code in ruling.codes)


def applied_packs(codes: tuple[str, ...], packs: Packs, source: CountrySource) -> str:
    """The packs a decision was made under, each with its version, and where the recipient's country came from.

    `US@1+NL@1 billing`. A country without a pack falls under UNKNOWN, and so does no country.
    """
    labels = [(packs.get(code) or packs[UNKNOWN]).label for code in codes or (UNKNOWN,)]
    return f"{'+'.join(labels)} {source}"


def _recipient(person: Person | None) -> Recipient:
    if person is None:
        return _NO_ADDRESS
    recipient = person.standing.recipient
    if person.suppressions and not recipient.known:  # a suppression makes a person known, a mere mailing does not
        return replace(recipient, known=True)
    return recipient


def _for_purpose(person: Person | None, purpose: str | None) -> tuple[Suppression, ...]:
    return tuple(for_purpose(one, purpose) for one in person.suppressions) if person is not None else ()


def _begun(records: tuple[_Record, ...], name: str, now: dt.datetime) -> tuple[_Record, ...]:
    """What somebody said against being mailed has begun, whatever instant stands in it (P3).

    Nobody can say no for a day to come: no door writes one down. So it was written by a clock that goes before ours, or
    ours was set back; the law alone would take it for absent until then (RULES.md 2.1.5).
    """

    begins: dict[str, Any] = {name: now}

    def begun(one: _Record) -> _Record:
        at: dt.datetime | None = getattr(one, name)
        return one if at is None or at <= now else replace(one, **begins)

    return tuple(map(begun, records))


def stranger(controller_id: str, recipient_key: bytes) -> Person:
    """Somebody of whom nothing is known."""
    return Person(
        controller_id=controller_id, recipient_key=recipient_key, seen=False, addressed=False, readable=True, version=0,
        standing=_NOBODY, suppressions=(),
    )  # fmt: skip


def unreadable_store(now: dt.datetime) -> Ruling:
    """The ruling when the facts cannot be read at all: wait (RULES.md A1, P5)."""
    decision = Decision(
        verdict="defer", reason_code="EVIDENCE_STORE_UNAVAILABLE", cite="GDPR 5(2), 25", basis=None, pack=None,
        trace=("A1",), findings=(),
    )  # fmt: skip
    return Ruling(decision=decision, as_of=now, packs=" unknown")
