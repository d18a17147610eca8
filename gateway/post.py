"""A message of our own, ready for the queue: stored, decided on, signed, retried and reported like any other mail.

One person per message. Where the law forbids it (RULES.md 2.3), what is stored is the decision, without a body.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.config import Config, Controller, Stream
from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import alarm
from gateway.store.contract import Arrival, NewCopy, Ruling
from gateway.weigh import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What goes to whom. `to`: as it is written to the next server; `address`: the normalised one it is filed under.

    `mail_from`: "" where nobody is to hear that it failed, so that no answer can begin a loop (RFC 3834 3.3, RFC 3464
    2). `notify`: what the recipient's reports are limited to (RFC 3461 4.1). `at`: now, aware; `due_at`: not earlier.
    """

    message_id: bytes
    case: Case
    campaign: str
    to: str
    address: str
    recipient_key: bytes
    mail_from: str
    subject: str
    body: bytes
    ruling: Ruling
    at: datetime
    notify: Collection[str] = ()
    due_at: datetime | None = None
    addressed: bool = False


def queued(config: Config, controller: Controller, stream: Stream, mail: Outgoing) -> Arrival:
    """The message by this stream's route."""
    leaves = mail.ruling.decision.verdict != "block"
    rcpt = pack_rcpt(Rcpt(address=mail.to, notify=frozenset(mail.notify)))
    return Arrival(
        controller_id=controller.id, message_id=mail.message_id, at=mail.at, stream=stream.name,
        campaign=mail.campaign, mode="enforce", kind=mail.case.to_json(), subject=mail.subject,
        body=mail.body if leaves else None, size=len(mail.body), worker="",
        envelope={
            "mail_from": mail.mail_from, "ret": None, "envid": None, "helo": config.hostname, "peer_ip": "127.0.0.1",
            "tls": False, "login": False, "body_8bit": not mail.body.isascii(),
            "smtputf8": not (mail.to + mail.mail_from).isascii(),
        },
        copies=[NewCopy(
            copy_no=0, recipient_key=mail.recipient_key, address=mail.address, rcpt=rcpt if leaves else None,
            state="queued" if leaves else "blocked", ruling=mail.ruling, route=stream.route,
            due_at=(mail.due_at or mail.at) if leaves else None, addressed=mail.addressed,
            alarm_at=alarm(mail.due_at or mail.at, stream.retry_for, delay_asked=False, now=mail.at),
        )],
    )  # fmt: skip


DELIVERY_REPORT: Final = "delivery report"
"""What a report on our own mail is called (see `service`)."""


def service(what: str, from_domain: str, language: str | None = None) -> Case:
    """What a letter that the law or the sender's own software asks for is, for the law: no promotion, no opt-out."""
    return Case(
        message_class="mandatory_notice", promotional=False, purpose=None, categories=(), transaction_ref=False,
        restriction_exemption=None, unsubscribe="not_injectable", from_domain=from_domain, language=language,
        matched=(what,),
    )  # fmt: skip


def pack_rcpt(rcpt: Rcpt) -> bytes:
    """A recipient as it waits in the queue."""
    return json.dumps({"address": rcpt.address, "notify": sorted(rcpt.notify), "orcpt": rcpt.orcpt}).encode()


def unpack_rcpt(packed: bytes) -> Rcpt:
    """The recipient again."""
    fields = json.loads(packed)
    return Rcpt(address=fields["address"], notify=frozenset(fields["notify"]), orcpt=fields["orcpt"])
