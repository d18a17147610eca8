"""What the holder of a link, and staff, may be shown of one mail. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.config import Config
from gateway.post import unpack_rcpt
from gateway.record import named
from gateway.render import Original, Renderer, open_original
from gateway.store.contract import Ruling, Store, Who
from suppression.address import masked
from suppression.decision import Decision
from suppression.link_token import LinkToken
from suppression.provenance import presumably_from
from suppression.sale import SALE_KINDS
from suppression.suppression_list import for_purpose
from suppression.vault import KeyRing

BOUGHT = frozenset(("purchase", "contract"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkContext:
    """What a link's page may say. Works without an address too: a link outlives the person's data (P10).

    `since`: when the consent was given, or the last sale. `wording_version`: what was shown then, as the consent names
    it. `obtained_from`: who passed the address on, "" for somebody unknown, None where nobody did. `suppressed`: the
    widest scope that stands, None if none.
    """

    controller: str
    purpose: str | None
    basis: str | None
    masked_address: str | None
    since: datetime | None
    wording_version: str | None
    obtained_from: str | None
    language: str | None
    suppressed: str | None


async def link_context(store: Store, config: Config, token: LinkToken, now: datetime) -> LinkContext | None:
    """The context of a link; None where its controller is unknown here."""
    who = await named(store, token)
    if who is None or who.controller_id not in config.controllers:
        return None
    person = (await store.people([Who(who.controller_id, (token.recipient_key,), ())]))[0]
    address = await store.address(who.controller_id, person.recipient_key)
    standing = person.standing
    version = obtained = None
    if token.basis == "opt_in":
        obtained = presumably_from(standing.consents, who.controller_id, who.purpose, now)
        acts = {
            c.double_opt_in.confirmed_at or c.given_at: c.evidence.wording_version
            for c in standing.consents if who.purpose in c.purposes
        }  # fmt: skip
        version = acts.get(max((at for at in acts if at is not None and at <= now), default=None))
    else:
        # A page that says "you bought there" must not mean a cancelled order or a contest.
        kinds = BOUGHT if token.basis == "soft_opt_in" else SALE_KINDS
        acts = {
            sale.concluded_at: None
            for sale in standing.sales if sale.status == "concluded" and sale.kind in kinds
        }  # fmt: skip
    stands = {
        s.scope for s in (for_purpose(one, who.purpose) for one in person.suppressions)
        if s.at <= now and (s.lifted_at is None or s.lifted_at > now)
        and (s.scope != "purpose" or s.purpose == who.purpose)
    }  # fmt: skip
    stream = config.controllers[who.controller_id].streams.get(who.stream or "")
    return LinkContext(
        controller=who.controller_id, purpose=who.purpose, basis=token.basis,
        masked_address=masked(address) if address is not None else None,
        since=max((at for at in acts if at is not None and at <= now), default=None),
        wording_version=version, obtained_from=obtained,
        language=standing.language or (stream.language if stream is not None else None),
        suppressed=next((scope for scope in ("global", "sender", "purpose") if scope in stands), None),
    )  # fmt: skip


async def captured_mail(
    store: Store, config: Config, renderer: Renderer, controller_id: str, message_id: str, copy_no: int
) -> bytes | None:
    """A captured copy as it would have left; None where it is not, or no longer, kept."""
    try:
        key = UUID(message_id).bytes
    except ValueError:
        return None
    copy = await store.copy(controller_id, key, copy_no)
    if copy is None or copy["state"] != "captured" or copy["rcpt"] is None:
        return None
    stored = await store.message(controller_id, key)
    original = open_original(config, stored) if stored is not None else None
    if original is None:
        return None
    decision = Decision(
        verdict="allow", reason_code=copy["reason_code"], cite="", basis=copy["basis"],
        pack=copy["packs"].partition(" ")[0].partition("+")[0] or None, trace=(), findings=(),
    )  # fmt: skip
    ruling = Ruling(
        decision=decision, as_of=copy["as_of"], packs=copy["packs"],
        obtained_from=await _obtained_from(store, original, copy) if copy["basis"] == "opt_in" else None,
    )  # fmt: skip
    return b"".join(renderer.copy(original, unpack_rcpt(copy["rcpt"]).address, copy["recipient_key"], ruling))


async def _obtained_from(store: Store, original: Original, copy: Mapping[str, Any]) -> str | None:
    """The third party that a captured copy names, if any."""
    controller_id = original.controller.id
    person = (await store.people([Who(controller_id, (copy["recipient_key"],), ())]))[0]
    return presumably_from(person.standing.consents, controller_id, original.case.purpose, copy["as_of"])


INVENTED = "a.reader@example.invalid"
"""The recipient of samples: nobody has this address (RFC 2606)."""


async def sample_mail(
    store: Store, config: Config, renderer: Renderer, ring: KeyRing, controller_id: str, message_id: bytes
) -> bytes | None:
    """A mail that waits, as it would leave for somebody who agreed, with an invented recipient. None where it is gone.

    Its links are about nobody: whoever should follow one stops nothing of anybody's.
    """
    stored = await store.message(controller_id, message_id)
    original = open_original(config, stored) if stored is not None else None
    if stored is None or original is None:
        return None
    decision = Decision(
        verdict="allow", reason_code="ALLOW_OPT_IN", cite="", basis="opt_in", pack=None, trace=(), findings=()
    )
    ruling = Ruling(decision=decision, as_of=stored.at, packs=original.controller.default_country or "UNKNOWN")
    key = ring.recipient_keys(controller_id, INVENTED)[0]
    return b"".join(renderer.copy(original, INVENTED, key, ruling))
