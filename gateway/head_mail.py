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

from gateway import post
from gateway.config import Config
from gateway.letters import written
from gateway.mail.letter import Letter, make_letter
from gateway.post import Outgoing
from gateway.store.contract import Arrival
from gateway.weigh import Scales, stranger
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
        said = written(
            self.words, controller, "head", language, must=[head["hash"] for head in heads], heads=heads,
            date=self.words.day(language, now, zone),
        )  # fmt: skip
        body = make_letter(Letter(
            to=to, sender=sender, sender_name=controller.display_name, subject=said.subject, text=said.text,
            html=said.html, language=language, message_id=f"<{message_id.hex()}@{domain}>", at=now,
            attached=((FILE, "application/x-ndjson", b"".join(map(_line, heads))),),
        ))  # fmt: skip
        case = post.service("ledger head", domain, language)
        address = canonical(to) or to
        key = self.ring.recipient_keys(controller.id, address)[0]
        return post.queued(self.config, controller, stream, Outgoing(
            message_id=message_id, case=case, campaign=CAMPAIGN, to=to, address=address, recipient_key=key,
            mail_from=sender, subject=said.subject, body=body, at=now,
            ruling=self.scales.lay(case, controller, stream)(stranger(controller.id, key), now),
        ))  # fmt: skip


def _line(head: Mapping[str, Any]) -> bytes:
    return json.dumps({name: _plain(value) for name, value in head.items()}).encode() + b"\n"


def _plain(value: object) -> object:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
