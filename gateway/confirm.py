"""Confirm a sign-up from its mailbox: what the link shows and the click changes (RULES.md 4.3, B4 to B8, 2.1.10 a).

What is decided is decided inside one transaction of the store: the confirmation, what the person said of themselves at
the form, and the opt-outs of before that it overrules.

What it never does: let anything but a POST of the link's own page confirm, or lift an opt-out that the person did not
overrule themselves (suppression/lift.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Literal

from gateway import log
from gateway.config import MARKETING, Config, Controller, Form, Stream
from gateway.confirmation import WINDOW
from gateway.recall import lookup
from gateway.record import named
from gateway.store.asking import Confirming, SignUp, limit_of
from gateway.store.contract import Act, Person, Store, SuppressionRow, Who
from gateway.weigh import Case, Scales
from suppression.address import masked
from suppression.consent import Consent
from suppression.fields import written
from suppression.lift import is_valid, lift, stands_after
from suppression.link_token import LinkToken, TokenKeys
from suppression.vault import KeyRing

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


class Confirmations:
    """Answers the links of confirmation mails. One per process; `configure` swaps the settings."""

    def __init__(self, store: Store, ring: KeyRing, tokens: TokenKeys, *, clock: Callable[[], datetime]) -> None:
        self._store, self._ring, self._tokens, self._clock = store, ring, tokens, clock

    def configure(self, config: Config, scales: Scales) -> None:
        self._config, self._scales = config, scales

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
            lifts=lifts, narrowed=narrowed, released=[limit_of(found.token.recipient_key)],
        ))  # fmt: skip
        if done:
            log.confirmed(
                controller=found.controller.id, lifted=len(lifts) + len(narrowed),
                minutes=round((now - found.asked.at).total_seconds() / 60),
            )  # fmt: skip
        again = await self._find(text) or found  # the settings may have changed in between
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


def _stream_of(controller: Controller, purpose: str, form: Form | None) -> Stream | None:
    """A stream that mails this purpose, the strictest of them; else that of the form."""
    mailing = [
        stream for stream in controller.streams.values()
        if stream.message_class in MARKETING and purpose in (stream.purpose, *stream.purposes)
    ]  # fmt: skip
    mailing.sort(key=lambda stream: (not stream.directed_at_children, not stream.uses_special_category))
    return mailing[0] if mailing else controller.streams.get(form.stream) if form is not None else None
