"""Signing up: ask, and let go of what nobody confirmed (RULES.md 4.3, B4 to B8, D1-15 to D1-17; DESIGN.md section 11).

Whoever asks, and whatever is known of the address (nothing, a subscription, an opt-out, an erasure, a limit reached):
the same steps are taken and the same is answered, so that a form tells nobody who is on file. What is decided is
decided inside one transaction of the store. A request that waits is no consent: D1-17 keeps its mail out, until the
person confirms (confirm.py). What it never does: send a second mail for one request.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import uuid_utils

from gateway import log
from gateway.config import Config, Controller, Form
from gateway.confirmation import WINDOW, Question, case, confirmation
from gateway.recall import lookup
from gateway.store.asking import Asking, Limit, Once, limit_of
from gateway.store.contract import Act, Arrival, Person, Store
from gateway.weigh import Scales
from gateway.wish import Wish, facts_of, record_of, trace_of
from gateway.words import Words
from suppression.consent import Consent
from suppression.jurisdiction import resolve
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


class SignUps:
    """Takes sign-ups. One per process; `configure` swaps the settings.

    `wake` is told the route of each mail that was queued.
    """

    def __init__(
        self, store: Store, ring: KeyRing, tokens: TokenKeys, *, clock: Callable[[], datetime],
        wake: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store, self._ring, self._tokens = store, ring, tokens
        self._clock, self._wake = clock, wake
        self._secret = next(iter(ring.derived("sign-up").values()))

    def configure(self, config: Config, scales: Scales, words: Words) -> None:
        self._config, self._scales, self._words = config, scales, words

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
        limits = [Limit(limit_of(recipient_key), 1, WINDOW, mailed=True)]
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
