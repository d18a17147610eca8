"""The mail that takes signed heads of the ledger outside (DESIGN.md 10): what was signed cannot be taken back there.

A message of our own on a named stream and route, queued with the head it tells of, signed and retried like any mail.
Names of controllers, numbers and hashes: no personal data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import uuid_utils

from gateway.config import Config
from gateway.mail.envelope import Rcpt
from gateway.mail.letter import Letter, make_letter
from gateway.notice import pack_rcpt
from gateway.store.contract import Arrival, NewCopy
from gateway.weigh import Case, Scales, stranger
from gateway.words import Words
from suppression.address import canonical
from suppression.vault import KeyRing

CAMPAIGN: Final = "ledger heads"
FILE: Final = "heads.jsonl"
SENDER: Final = "postmaster"
"""Where a mail comes from that nobody answers, and where it comes back to: there has to be one (RFC 5321 4.5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMail:
    """Makes these mails; made anew when the settings change."""

    config: Config
    words: Words
    scales: Scales
    ring: KeyRing

    def letters(self, heads: Sequence[Mapping[str, Any]], now: datetime) -> list[Arrival]:
        """One mail to each address of the settings, ready to be queued. `heads`: as `ledger head --json` prints."""
        return [self._letter(address, heads, now) for address in self.config.ledger.heads_to] if heads else []

    def _letter(self, to: str, heads: Sequence[Mapping[str, Any]], now: datetime) -> Arrival:
        settings = self.config.ledger
        controller = self.config.controllers[settings.heads_controller]
        stream, language = controller.streams[settings.heads_stream], self.words.pick([controller.language])
        message_id, domain = uuid_utils.uuid7().bytes, stream.from_domains[0]
        sender, zone = f"{SENDER}@{domain}", ZoneInfo(controller.timezone)
        subject = self.words.text(
            language, "head_mail.subject", name=controller.display_name, date=self.words.day(language, now, zone)
        )
        body = make_letter(Letter(
            to=to, sender=sender, sender_name=controller.display_name, subject=subject,
            text=self.words.render("mail/head.txt", language, name=controller.display_name, heads=heads), html="",
            language=language, message_id=f"<{message_id.hex()}@{domain}>", at=now,
            attached=((FILE, "application/x-ndjson", b"".join(map(_line, heads))),),
        ))  # fmt: skip
        case = Case(
            message_class="mandatory_notice", promotional=False, purpose=None, categories=(), transaction_ref=False,
            restriction_exemption=None, unsubscribe="not_injectable", from_domain=domain, matched=("ledger head",),
        )  # fmt: skip
        address = canonical(to) or to
        key = self.ring.recipient_keys(controller.id, address)[0]
        ruling = self.scales.lay(case, controller, stream)(stranger(controller.id, key), now)
        leaves = ruling.decision.verdict != "block"
        return Arrival(
            controller_id=controller.id, message_id=message_id, at=now, stream=stream.name, campaign=CAMPAIGN,
            mode="enforce", kind=case.to_json(), subject=subject, body=body if leaves else None, size=len(body),
            worker="",
            envelope={
                "mail_from": sender, "ret": None, "envid": None, "helo": self.config.hostname, "peer_ip": "127.0.0.1",
                "tls": False, "login": False, "body_8bit": False, "smtputf8": not (to + sender).isascii(),
            },
            copies=[NewCopy(
                copy_no=0, recipient_key=key, address=address, rcpt=pack_rcpt(Rcpt(address=to)) if leaves else None,
                state="queued" if leaves else "blocked", ruling=ruling, route=stream.route,
                due_at=now if leaves else None,
            )],
        )  # fmt: skip


def _line(head: Mapping[str, Any]) -> bytes:
    return json.dumps({name: _plain(value) for name, value in head.items()}).encode() + b"\n"


def _plain(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
