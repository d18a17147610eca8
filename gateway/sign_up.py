"""Signing up: ask, confirm, expire (RULES.md 4.3, B4 to B8, D1-15 to D1-17, 2.1.10 a; DESIGN.md section 11).

Whoever asks, and whatever is known of the address (nothing, a subscription, an opt-out, an erasure, a limit reached):
the same steps are taken and the same is answered, so that a form tells nobody who is on file. What is decided is
decided inside one transaction of the store. A request that waits is no consent: D1-17 keeps its mail out.

What it never does: send a second mail for one request, let anything but a POST of the link's own page confirm, or lift
an opt-out that the person did not overrule themselves (suppression/lift.py).
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import uuid_utils

from gateway import log
from gateway.config import MARKETING, Config, Controller, Form, Stream
from gateway.confirmation import WINDOW, Question, case, confirmation
from gateway.recall import lookup
from gateway.record import named
from gateway.store.asking import Asking, Confirming, Limit, Once, SignUp
from gateway.store.contract import Act, Arrival, Person, Store, SuppressionRow, Who
from gateway.weigh import Case, Scales
from gateway.wish import Wish, facts_of, record_of, trace_of
from gateway.words import Words
from suppression.address import masked
from suppression.consent import Consent
from suppression.fields import written
from suppression.jurisdiction import resolve
from suppression.lift import is_valid, lift, stands_after
from suppression.link_token import LinkToken, TokenKeys
from suppression.months import completed_years
from suppression.standing import SIGN_UP
from suppression.vault import KeyRing

TRACE_KEPT: Final = timedelta(days=365)
"""How long IP address and user agent of a sign-up are kept (RULES.md 7.2: 12 months)."""
SAID_ONCE: Final = timedelta(days=30)
"""How long a request of the API is known again when it comes twice."""
_AT_ONCE: Final = 200
_HOUR: Final = timedelta(hours=1)
State = Literal["waiting", "confirmed", "already", "expired", "overtaken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A sign-up as its link's page shows it. "overtaken": an opt-out came after it, which stands.

    `masked_address`, `purposes`: None and empty where nothing is known any more. `barred`: confirmed, and yet an entry
    stands that a confirmation cannot lift. `preferences`: the token of that page.
    """

    state: State
    controller: Controller
    form: str | None
    purposes: tuple[str, ...]
    masked_address: str | None
    language: str | None
    parent: bool
    barred: bool = False
    preferences: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A sign-up that was looked up by its link."""

    controller: Controller
    token: LinkToken
    asked: SignUp | None
    who: Who
    person: Person
    address: str | None
    consent: Consent | None

    @property
    def form(self) -> Form | None:
        return self.controller.forms.get(str(self.asked.trace.get("form"))) if self.asked is not None else None


class SignUps:
    """Takes sign-ups and their confirmations. One per process; `configure` swaps the settings.

    `wake` is told the route of each mail that was queued.
    """

    def __init__(
        self, store: Store, words: Words, ring: KeyRing, tokens: TokenKeys, *, clock: Callable[[], datetime],
        wake: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store, self._words, self._ring, self._tokens = store, words, ring, tokens
        self._clock, self._wake = clock, wake
        self._secret = next(iter(ring.derived("sign-up").values()))

    def configure(self, config: Config, scales: Scales) -> None:
        self._config, self._scales = config, scales

    def age(self, controller: Controller) -> int:
        """Below which age a parent has to agree."""
        return age_of_consent(self._scales, controller, self._clock())

    def is_minor(self, controller: Controller, birth: date, today: date) -> bool:
        """Whether a parent has to agree (GDPR art. 8)."""
        return completed_years(birth, today) < self.age(controller)

    # ask

    async def ask(self, controller: Controller, form: Form | None, wish: Wish, *, double_opt_in: bool) -> str:
        """Take a sign-up; the id of its consent. The same steps whoever it is.

        `form`: whose mail asks to confirm; None where none is asked. Raises StoreUnavailable, SaidOtherwise.
        """
        at = wish.at.astimezone(UTC)
        who = lookup(self._ring, controller.id, None, wish.address)
        [person] = await self._store.people([who])
        request_id = uuid_utils.uuid7().bytes
        record = record_of(controller, wish, request_id.hex(), at, double_opt_in=double_opt_in)
        told: dict[str, Any] = {"form": form.name if form is not None else None, "language": wish.language}
        arrival = None
        if double_opt_in and form is not None:
            arrival, asked = await self._question(controller, form, wish, record, person, request_id)
            told |= asked
        act = Act(
            controller_id=controller.id, recipient_key=person.recipient_key, address=wish.address, at=at,
            kind="opt_in_requested" if arrival is not None else "consent",
            public={"id": record["id"], "purposes": list(wish.purposes)}, private={**record, SIGN_UP: told},
        )  # fmt: skip
        facts = facts_of(wish) if wish.told and arrival is None else {}
        more = [replace(act, kind="person", public={}, private=facts, address=None)] if facts else []
        done = await self._store.ask(Asking(
            request_id=request_id, act=act, more=more, trace=trace_of(form, wish, record["id"]), arrival=arrival,
            once=wish.once, limits=self._limits(form, person.recipient_key, wish),
        ))  # fmt: skip
        if form is not None:
            self._wake(controller.streams[form.stream].route)
        log.signed_up(controller=controller.id, form=form.name if form is not None else None, outcome=done.outcome)
        if done.outcome == "other":
            raise SaidOtherwise
        return done.consent_id

    async def _question(
        self, controller: Controller, form: Form, wish: Wish, record: Mapping[str, Any], person: Person,
        request_id: bytes,
    ) -> tuple[Arrival, dict[str, Any]]:  # fmt: skip
        """The mail that asks to confirm, decided on as if the request were on file, and what is kept of it."""
        token = await self._token(controller, form, person.recipient_key, request_id)
        asking = replace(person, standing=replace(
            person.standing, consents=(*person.standing.consents, Consent.from_dict(record))
        ))  # fmt: skip
        weigh = self._scales.lay(case(form, wish.purposes), controller, controller.streams[form.stream])
        mail = confirmation(
            self._config, self._words, controller, form,
            Question(
                address=wish.address, purposes=wish.purposes, language=wish.language, parent=wish.parent,
                at=wish.at, link=f"{self._config.public_url.rstrip('/')}/c/{token}",
                origin=str(wish.evidence["origin"]),
            ),
            recipient_key=person.recipient_key, ruling=weigh(asking, wish.at), addressed=person.addressed,
        )  # fmt: skip
        words = {"subject": mail.subject, "text": mail.text, "message_id": mail.arrival.message_id.hex()}
        return mail.arrival, {"mail": words, "token_hash": hashlib.sha256(token.encode()).hexdigest()}

    async def _token(self, controller: Controller, form: Form, recipient_key: bytes, request_id: bytes) -> str:
        number = self._store.number
        return self._tokens.make(LinkToken(
            kind="confirm", controller_no=await number(controller.id, "controller", controller.id),
            recipient_key=recipient_key, stream_no=await number(controller.id, "stream", form.stream),
            purpose_no=0, basis="doi", message_id=request_id,
        ))  # fmt: skip

    def _limits(self, form: Form | None, recipient_key: bytes, wish: Wish) -> list[Limit]:
        """One mail per address in the time it may be answered; so many sign-ups per network and form in an hour.

        What the controller's own programs say is not limited but by address.
        """
        limits = [Limit(_of_address(recipient_key), 1, WINDOW, mailed=True)]
        if form is None or wish.told:
            return limits
        limits.append(Limit(self._name("form", form.name), form.hourly, _HOUR, mailed=False))
        if wish.network is not None:
            name = self._name("network", form.name, wish.network)
            limits.append(Limit(name, form.hourly_per_network, _HOUR, mailed=False))
        return limits

    def _name(self, *of: str) -> bytes:
        return hmac.digest(self._secret, "\0".join(of).encode(), "sha256")[:16]

    def once(self, controller: Controller, name: str, said: Mapping[str, Any]) -> Once:
        """The mark of a request that may come twice; nothing of what it says can be read in it."""
        whole = json.dumps(said, sort_keys=True, default=str)
        return Once(self._name("once", controller.id, name), self._name("said", controller.id, whole))

    # confirm

    async def look(self, text: str) -> Seen | None:
        """What a link asks to confirm; changes nothing. None where it is not one of ours."""
        found = await self._find(text)
        return None if found is None else self._seen(found, self._state(found, self._clock()))

    async def confirm(self, text: str) -> Seen | None:
        """Confirm a sign-up from its mailbox. A second click says so, and changes nothing."""
        found, now = await self._find(text), self._clock()
        if found is None:
            return None
        state = self._state(found, now)
        if state != "waiting" or found.asked is None or found.consent is None:
            return self._seen(found, state)
        rows = await self._rows(found)
        at = now.astimezone(UTC).replace(microsecond=0)
        since = min(found.consent.double_opt_in.requested_at or found.asked.at, found.asked.at)
        asked = replace(found.consent.double_opt_in, confirmed_at=at, requested_at=since)
        consent = replace(
            found.consent, double_opt_in=asked,
            parental_authorisation=found.consent.parental_authorisation or bool(found.asked.trace.get("parent")),
        )  # fmt: skip
        if stands_after(consent, [(r.scope, r.purpose, r.at, r.lifted_at) for r in rows]):
            return self._seen(found, "overtaken")
        lifts, narrowed = self._lifts(found, consent, rows, now)
        done = await self._store.confirm(Confirming(
            controller_id=found.controller.id, request_id=found.token.message_id, acts=_acts(found, consent, now),
            lifts=lifts, narrowed=narrowed, released=[_of_address(found.token.recipient_key)],
        ))  # fmt: skip
        if done:
            log.confirmed(
                controller=found.controller.id, lifted=len(lifts) + len(narrowed),
                minutes=round((now - found.asked.at).total_seconds() / 60),
            )  # fmt: skip
        again = await self._find(text)
        assert again is not None
        preferences = await self._preferences(again)
        seen = self._seen(again, "confirmed" if done else "already")
        return replace(seen, barred=self._barred(again, now), preferences=preferences)

    async def _find(self, text: str) -> _Found | None:
        token = self._tokens.open("confirm", text)
        of = await named(self._store, token) if token is not None else None
        controller = self._config.controllers.get(of.controller_id) if of is not None else None
        if token is None or controller is None:
            return None
        asked = await self._store.sign_up(controller.id, token.message_id)
        if asked is not None and asked.recipient_key != token.recipient_key:
            asked = None
        address = await self._store.address(controller.id, token.recipient_key) if asked is not None else None
        # by address, too: an opt-out may stand under an older key, everywhere, or on a list of hashes
        who = lookup(self._ring, controller.id, token.recipient_key, address)
        [person] = await self._store.people([who])
        consent = next((one for one in person.standing.consents if asked is not None and _is_asked(one, asked)), None)
        return _Found(
            controller=controller, token=token, asked=asked, who=who, person=person, address=address, consent=consent
        )  # fmt: skip

    def _state(self, found: _Found, now: datetime) -> State:
        if found.asked is not None and found.asked.done:
            return "already"
        if found.asked is None or found.consent is None or now - found.asked.at > WINDOW:
            return "expired"
        return "waiting"

    def _seen(self, found: _Found, state: State) -> Seen:
        trace = found.asked.trace if found.asked is not None else {}
        return Seen(
            state=state, controller=found.controller, form=found.form.name if found.form is not None else None,
            purposes=found.consent.purposes if found.consent is not None else (),
            masked_address=masked(found.address) if found.address is not None else None,
            language=trace.get("language"), parent=bool(trace.get("parent")),
        )  # fmt: skip

    async def _rows(self, found: _Found) -> list[SuppressionRow]:
        return [
            row for key in found.who.recipient_keys
            for row in await self._store.suppressions_of(found.controller.id, key)
        ]  # fmt: skip

    def _lifts(
        self, found: _Found, consent: Consent, rows: Sequence[SuppressionRow], now: datetime
    ) -> tuple[list[tuple[SuppressionRow, Act]], list[tuple[SuppressionRow, Act]]]:
        """The opt-outs that this consent overrules: those that end, and those that stand but for its purposes."""
        whole: list[tuple[SuppressionRow, Act]] = []
        narrowed: list[tuple[SuppressionRow, Act]] = []
        if not all(self._valid(found, consent, purpose, now) for purpose in consent.purposes):
            return whole, narrowed
        for row in rows:
            what = lift(
                consent, scope=row.scope, purpose=row.purpose, reason=row.reason, at=row.at, lifted_at=row.lifted_at,
                now=now,
            )  # fmt: skip
            if what is None:
                continue
            public: dict[str, Any] = {"ref": row.suppression_id.hex(), "ground": "new_consent", "consent": consent.id}
            if what.whole:
                whole.append((replace(row, lifted_at=now), _lifted(row, public, now)))
            else:
                before = dict(row.lifted_for)
                after = {**dict.fromkeys(what.purposes, now), **before}
                public["purposes"] = sorted(set(what.purposes) - set(before))
                if public["purposes"]:
                    kept = replace(row, lifted_for=tuple(sorted(after.items())))
                    narrowed.append((kept, _lifted(row, public, now)))
        return whole, narrowed

    def _valid(self, found: _Found, consent: Consent, purpose: str, now: datetime) -> bool:
        """Whether the consent would carry marketing of this purpose by itself, under every pack that applies."""
        stream = _stream_of(found.controller, purpose, found.form)
        if stream is None or found.asked is None:
            return False
        message = Case(
            message_class="marketing", promotional=True, purpose=purpose, categories=consent.product_categories or (),
            transaction_ref=False, restriction_exemption=None, unsubscribe="not_injectable",
            from_domain=stream.from_domains[0],
        )  # fmt: skip
        born = found.asked.trace.get("birth_date")
        standing = found.person.standing
        recipient = replace(standing.recipient, birth_date=date.fromisoformat(born)) if born else standing.recipient
        alone = replace(standing, consents=(consent,), sales=(), recipient=recipient)
        person = replace(found.person, standing=alone, suppressions=())
        facts, _ = self._scales.gather(message, found.controller, stream)(person, now)
        return is_valid(facts, self._scales.packs(found.controller.id, now))

    def _barred(self, found: _Found, now: datetime) -> bool:
        """Whether something stands in the way that no form lifts: an operator's entry, or one for everywhere."""
        from_now = [one for one in found.person.suppressions if one.lifted_at is None or one.lifted_at > now]
        purposes = set(found.consent.purposes) if found.consent is not None else set()
        return any(
            one.scope == "global"
            or (one.scope == "sender" and not purposes <= {purpose for purpose, _ in one.lifted_for})
            or (one.scope == "purpose" and (one.purpose is None or one.purpose in purposes))
            for one in from_now
        )

    async def _preferences(self, found: _Found) -> str | None:
        if found.consent is None or found.form is None:
            return None
        number, controller = self._store.number, found.controller
        purpose = found.consent.purposes[0]
        return self._tokens.make(replace(
            found.token, kind="preferences", basis="opt_in",
            stream_no=await number(controller.id, "stream", found.form.stream),
            purpose_no=await number(controller.id, "purpose", purpose),
        ))  # fmt: skip

    # expire

    async def sweep(self) -> None:
        """Let go of what was not confirmed in time, and of what may be kept for a time only."""
        now = self._clock()
        while True:
            gone = await self._store.expire(asked_before=now - WINDOW, now=now, n=_AT_ONCE)
            if gone.requests:
                log.sign_ups_expired(requests=gone.requests, forgotten=gone.forgotten)
            if gone.requests < _AT_ONCE:
                break
        while await self._store.drop_traces(
            before=now - TRACE_KEPT, said_before=now - SAID_ONCE, now=now, n=_AT_ONCE
        ) == _AT_ONCE:  # fmt: skip
            pass


def age_of_consent(scales: Scales, controller: Controller, now: datetime) -> int:
    """Below which age a parent has to agree: the strictest of the countries assumed for a controller (GDPR art. 8)."""
    default = controller.default_country if controller.default_country_motivation else None
    codes, _ = resolve(None, None, default, controller.country or None)
    packs = scales.packs(controller.id, now)
    return max((packs[code].age_of_digital_consent for code in codes if code in packs), default=18)


class SaidOtherwise(Exception):
    """The name of a request that may come twice stands for another one already."""


def _is_asked(consent: Consent, asked: SignUp) -> bool:
    """Whether a consent on file is what the mail asked about: a record corrected to cover more is not."""
    purposes = asked.trace.get("purposes", consent.purposes)
    return consent.id == asked.trace.get("id") and set(consent.purposes) <= set(purposes)


def _acts(found: _Found, consent: Consent, now: datetime) -> list[Act]:
    """The confirmation, and what the person said of themselves at the form: only now it is known to be theirs."""
    assert found.asked is not None
    confirmed_at = consent.double_opt_in.confirmed_at
    assert confirmed_at is not None
    said: dict[str, Any] = {"id": consent.id, "at": written(confirmed_at)}
    if consent.parental_authorisation and found.consent is not None and not found.consent.parental_authorisation:
        said |= {"parental_authorisation": True, "checked": "confirmed from the mailbox of the parent"}
    act = Act(
        controller_id=found.controller.id, recipient_key=found.token.recipient_key, at=now, kind="opt_in_confirmed",
        public=said, private=None,
    )  # fmt: skip
    trace = found.asked.trace
    said_of_them = ("birth_date", "language") if trace.get("speaks") else ("birth_date",)
    facts = {name: trace[name] for name in said_of_them if trace.get(name)}
    return [act, *([replace(act, kind="person", public={}, private=facts)] if facts else [])]


def _lifted(row: SuppressionRow, said: Mapping[str, Any], now: datetime) -> Act:
    """The id of an erasure stands in the ledger beside its recipient key for good: whoever came back, and is erased
    once more, would be known by it. So it is sealed."""
    sealed = {"ref": said["ref"]} if row.reason == "erasure" else None
    public = {name: value for name, value in said.items() if sealed is None or name not in sealed}
    return Act(
        controller_id=row.controller_id, recipient_key=row.recipient_key, kind="suppression_lifted", public=public,
        private=sealed, at=now,
    )  # fmt: skip


def _of_address(recipient_key: bytes) -> bytes:
    """The name of the limit of an address: a keyed hash of it already."""
    return b"address/" + recipient_key


def _stream_of(controller: Controller, purpose: str, form: Form | None) -> Stream | None:
    """A stream that mails this purpose, the strictest of them; else that of the form."""
    mailing = [
        stream for stream in controller.streams.values()
        if stream.message_class in MARKETING and purpose in (stream.purpose, *stream.purposes)
    ]  # fmt: skip
    mailing.sort(key=lambda stream: (not stream.directed_at_children, not stream.uses_special_category))
    return mailing[0] if mailing else controller.streams.get(form.stream) if form is not None else None
