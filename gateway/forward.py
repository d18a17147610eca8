"""A delivery report goes on to the tool whose mail came back, so that its own bounce handling learns too.

Byte for byte behind our Received field, from the null sender, to the MAIL FROM that the tool gave: an address in the
controller's own domains, never in one of ours that reports come back to. So no report answers a report, none goes to a
stranger, and none goes round: what is forwarded has no return path, and has been through few servers.
"""

from datetime import datetime
from typing import Final

import uuid_utils

from gateway.config import Config, Controller, Stream
from gateway.mail.envelope import Envelope, Rcpt
from gateway.mail.event import Event
from gateway.mail.outcome import alarm
from gateway.post import pack_rcpt
from gateway.store.contract import Arrival, NewCopy
from gateway.store.returned import SentCopy
from gateway.weigh import Case, Scales, stranger
from suppression.address import canonical, domain_of
from suppression.vault import KeyRing

CAMPAIGN: Final = "reports passed on"
HOPS: Final = 50
"""Received fields from which on a report is not passed on: half of what is a loop anywhere (RFC 5321 6.3)."""
_TOLD = {"failed": "FAILURE", "delayed": "DELAY", "delivered": "SUCCESS", "relayed": "SUCCESS", "expanded": "SUCCESS"}


class Forwards:
    """Makes reports that go on. Made anew when the configuration changes."""

    def __init__(self, config: Config, scales: Scales, ring: KeyRing) -> None:
        self._config, self._scales, self._ring = config, scales, ring
        self._ours = {one.return_domain.lower() for one in config.controllers.values() if one.return_domain}

    def report(self, controller_id: str, envelope: Envelope, sent: SentCopy, event: Event) -> Arrival | None:
        """The report on its way to the tool, ready to be queued; None where it does not go there."""
        found = self._config.stream_of(controller_id, sent.stream)
        if found is None or found[1].bounces == "consume" or not _asked_for(sent, event):
            return None
        if not _is_for_tools(event, from_nobody=not envelope.mail_from):
            return None
        if envelope.content.partition(b"\r\n\r\n")[0].lower().count(b"\r\nreceived:") > HOPS:
            return None
        plain = canonical(sent.return_to or "")
        if plain is None or not self._may_go_to(found[0], plain):
            return None
        return self._arrival(*found, sent.return_to or "", plain, envelope, event.at)

    def _may_go_to(self, controller: Controller, plain: str) -> bool:
        """An address of the controller's own, as the front door saw to; the settings may be others by now."""
        domain = domain_of(plain.rpartition("@")[2]) or ""
        own = any(domain == one or domain.endswith("." + one) for one in controller.domains)
        return own and domain not in self._ours

    def _arrival(
        self, controller: Controller, stream: Stream, to: str, plain: str, envelope: Envelope, now: datetime
    ) -> Arrival:
        case = Case(
            message_class="mandatory_notice", promotional=False, purpose=None, categories=(), transaction_ref=False,
            restriction_exemption=None, unsubscribe="not_injectable", from_domain=stream.from_domains[0],
            matched=("report passed on",),
        )  # fmt: skip
        key = self._ring.recipient_keys(controller.id, plain)[0]
        content = envelope.content
        return Arrival(
            controller_id=controller.id, message_id=uuid_utils.uuid7().bytes, at=now, stream=stream.name,
            campaign=CAMPAIGN, mode="enforce", kind=case.to_json(), subject="", body=content, size=len(content),
            worker="",
            envelope={
                "mail_from": "", "ret": None, "envid": None, "helo": envelope.helo, "peer_ip": envelope.peer_ip,
                "tls": envelope.tls, "login": False, "body_8bit": envelope.body_8bit or not content.isascii(),
                "smtputf8": envelope.smtputf8 or not to.isascii(), "verbatim": True,
            },
            copies=[NewCopy(
                copy_no=0, recipient_key=key, address=plain, rcpt=pack_rcpt(Rcpt(address=to)), state="queued",
                ruling=self._scales.lay(case, controller, stream)(stranger(controller.id, key), now),
                route=stream.route, due_at=now,
                alarm_at=alarm(now, stream.retry_for, delay_asked=False, now=now),
            )],
        )  # fmt: skip


def _is_for_tools(event: Event, *, from_nobody: bool) -> bool:
    """Delivery reports, and what looks like none that we know but is no letter either."""
    letter = event.feedback_type is not None or (event.needs_person and not from_nobody)
    return event.kind == "bounce" or (event.kind == "other" and not letter)


def _asked_for(sent: SentCopy, event: Event) -> bool:
    """Whether the tool wants to hear of it (RFC 3461 4.1): the next server was asked for more than the tool asked."""
    actions = {one.action for one in event.recipients if one.action is not None}
    if event.kind != "bounce" or not actions:
        return "NEVER" not in sent.notify
    if not sent.notify:
        return not actions.isdisjoint(("failed", "delayed"))
    return any(_TOLD[action] in sent.notify for action in actions)
