"""The mail that asks to confirm a sign-up, ready for the queue (RULES.md B4 to B8; Directive 2002/58/EC art. 13(1)).

It says who asked for what, when and where, that nothing happens without the click, and nothing else: whatever promotes
would make it marketing. One mail per request; the check at hand-over decides once more that it may still leave.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import uuid_utils

from gateway import post
from gateway.config import Config, Controller, Form
from gateway.letters import written
from gateway.mail.letter import Letter, make_letter
from gateway.post import Outgoing
from gateway.store.contract import Arrival, Ruling
from gateway.weigh import Case
from gateway.words import Language, Words

CAMPAIGN: Final = "sign-up confirmations"
WINDOW: Final = timedelta(hours=168)
"""How long a sign-up waits for its confirmation (RULES.md B7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the mail asks, of whom. `address`: canonical. `link` leads to the page with the button; `origin`: the form.

    `parent`: the address is that of a parent, who answers for a child (GDPR art. 8).
    """

    address: str
    purposes: tuple[str, ...]
    language: Language
    link: str
    origin: str
    parent: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The mail as it waits, and its words as they are kept with the request."""

    arrival: Arrival
    subject: str
    text: str


def case(form: Form, purposes: tuple[str, ...]) -> Case:
    """What such a mail is, for the law."""
    return Case(
        message_class="doi_confirmation", promotional=False, purpose=purposes[0], categories=(), transaction_ref=False,
        restriction_exemption=None, unsubscribe="not_injectable", from_domain=form.sender.rpartition("@")[2],
        matched=("sign-up",),
    )  # fmt: skip


def confirmation(
    config: Config, words: Words, controller: Controller, form: Form, question: Question, *, recipient_key: bytes,
    ruling: Ruling, addressed: bool,
) -> Asked:  # fmt: skip
    """The mail, to the address alone. Where the law forbids it, what is stored is the decision, without a body."""
    stream, language, message_id = controller.streams[form.stream], question.language, uuid_utils.uuid7().bytes
    zone = ZoneInfo(controller.timezone)
    said = written(
        words, controller, "confirm", language, must=[question.link], link=question.link, parent=question.parent,
        purposes=[words.purpose(controller, purpose, language) for purpose in question.purposes],
        asked_at=words.moment(language, question.at, zone), origin=question.origin,
        until=words.moment(language, question.at + WINDOW, zone),
    )  # fmt: skip
    body = make_letter(Letter(
        to=question.address, sender=form.sender, sender_name=controller.display_name, subject=said.subject,
        text=said.text, html=said.html, language=language,
        message_id=f"<{message_id.hex()}@{form.sender.rpartition('@')[2]}>", at=question.at,
    ))  # fmt: skip
    arrival = post.queued(config, controller, stream, Outgoing(
        message_id=message_id, case=case(form, question.purposes), campaign=CAMPAIGN, to=question.address,
        address=question.address, recipient_key=recipient_key, mail_from=form.sender, subject=said.subject, body=body,
        ruling=ruling, at=question.at, addressed=addressed,
        # Our bounces of a mistyped address are of no use to the controller: nobody asked for a report (RFC 3461 4.1).
        notify={"NEVER"},
    ))  # fmt: skip
    return Asked(arrival=arrival, subject=said.subject, text=said.text)
