"""The page of a proof: a story in order for somebody who has to judge it. Words and templates in, HTML out; no I/O.

What was asked and shown, when it was confirmed, what was sent on what ground, when it was stopped, and how to check all
of it. No scripts, nothing from outside; it prints.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.config import Controller
from gateway.sentences import stop_key
from gateway.store.contract import SuppressionRow
from gateway.store.material import KeptAttachment, KeptWording
from gateway.store.proof import Passage, ShownEntry
from gateway.words import GROUND_AND_STEP, Language, Words
from suppression.consent import Consent
from suppression.ledger import BLIND_BYTES
from suppression.standing import SIGN_UP, Standing
from suppression.suppression_list import HASH_LIST

OUTCOMES: Final[Mapping[str, str]] = {
    "delivered": "sent", "captured": "captured", "blocked": "blocked", "skipped": "blocked", "failed": "failed",
    "dropped": "dropped", "rehearsed": "rehearsed",
}  # fmt: skip
"""States of a copy as the page names them; every other one waits."""
CHANNELS: Final = frozenset({"one-click", "page", "mail", "api", "form", "staff", "import", "request", HASH_LIST})
"""Where an opt-out came from, as the page has words for it."""
MOST_ROWS: Final = 2000
"""Mails told one by one on the page; all of them stand in the file beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonStory:
    """Everything a proof about one person tells. `stops`: opt-outs, each with marketing that left after it."""

    controller: Controller
    address: str
    recipient_key: bytes
    standing: Standing
    entries: Sequence[ShownEntry]
    passages: Sequence[Passage]
    stops: Sequence[tuple[SuppressionRow, Sequence[Passage]]]
    wordings: Sequence[KeptWording]
    attachments: Sequence[KeptAttachment]
    at: datetime
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStory:
    """Everything a proof about one campaign tells. `counts`: copies by state, verdict and reason code."""

    controller: Controller
    stream: str
    campaign: str
    counts: Mapping[tuple[str, str, str], int]
    messages: Sequence[Mapping[str, Any]]
    at: datetime
    public_key: bytes
    addresses: bool


def person_page(words: Words, language: Language, story: PersonStory) -> str:
    """The page of a proof about one person."""
    teller = _Teller(words, language, story.controller)
    wordings = {one.wording.name: one for one in story.wordings}
    asked = dict(_asked(one) for one in story.entries if one.stored.kind == b"opt_in_requested" and one.opened)
    return words.render(
        "proof/person.html", language, story=story, zone=teller.zone, key=story.public_key.hex(),
        consents=[teller.consent(one, wordings, asked) for one in story.standing.consents],
        sales=[teller.dated(f"fact.sale.{one.kind}", one.concluded_at) for one in story.standing.sales],
        stops=[teller.stop(row, late) for row, late in story.stops],
        mail=[teller.mail(one) for one in story.passages[-MOST_ROWS:]],
        more=max(0, len(story.passages) - MOST_ROWS), recorded=[teller.entry(one) for one in story.entries],
    )  # fmt: skip


def campaign_page(words: Words, language: Language, story: CampaignStory) -> str:
    """The page of a proof about one campaign."""
    teller = _Teller(words, language, story.controller)
    rows = [
        {"outcome": teller.outcome(state), **teller.ground(code), "code": code, "n": n}
        for (state, _, code), n in sorted(story.counts.items(), key=lambda item: -item[1])
    ]  # fmt: skip
    return words.render(
        "proof/campaign.html", language, story=story, zone=teller.zone, key=story.public_key.hex(), rows=rows,
        messages=story.messages[:MOST_ROWS], more=max(0, len(story.messages) - MOST_ROWS),
        total=sum(story.counts.values()),
    )  # fmt: skip


def _asked(entry: ShownEntry) -> tuple[str, Any]:
    """The id of a consent, and the mail that asked to confirm it; None where its words were not kept."""
    private = json.loads((entry.opened or b"")[BLIND_BYTES:])
    return private["id"], private.get(SIGN_UP, {}).get("mail")


class _Teller:
    """Rows of the page in the reader's language."""

    def __init__(self, words: Words, language: Language, controller: Controller) -> None:
        self._words, self._language, self._controller = words, language, controller
        self.zone = ZoneInfo(controller.timezone)

    def text(self, key: str, **values: object) -> str:
        return self._words.text(self._language, key, **values)

    def moment(self, at: datetime | None) -> str:
        return self.text("proof.unknown") if at is None else self._words.moment(self._language, at, self.zone)

    def dated(self, key: str, at: datetime | None) -> str:
        return self.text(key, date=self.moment(at))

    def consent(self, one: Consent, wordings: Mapping[str, KeptWording], asked: Mapping[str, Any]) -> dict[str, Any]:
        """What was asked, shown, given and confirmed."""
        purposes = [self._words.purpose(self._controller, name, self._language) for name in one.purposes]
        version = one.evidence.wording_version
        return {
            "purposes": ", ".join(purposes), "facts": list(self._facts_of(one)), "wording": version,
            "shown": wordings.get(version) if version is not None else None, "asked": asked.get(one.id),
        }  # fmt: skip

    def _facts_of(self, one: Consent) -> Iterator[tuple[str, str]]:
        asked = one.double_opt_in
        yield self.text("proof.given"), self.moment(one.given_at)
        yield self.text("proof.how"), self.text(f"source.{one.source}")
        if one.evidence.origin:
            yield self.text("proof.origin"), one.evidence.origin
        if asked.requested_at is not None:
            yield self.text("proof.requested"), self.moment(asked.requested_at)
        if asked.required or asked.confirmed_at is not None:
            yield self.text("proof.confirmed"), self.moment(asked.confirmed_at)
        if one.evidence.privacy_notice_version:
            yield self.text("proof.notice"), one.evidence.privacy_notice_version
        if one.withdrawn_at is not None:
            yield self.text("proof.withdrawn"), self.moment(one.withdrawn_at)

    def stop(self, row: SuppressionRow, late: Sequence[Passage]) -> dict[str, Any]:
        """One opt-out, and whether anything left after it."""
        purposes = self._words.purpose(self._controller, row.purpose, self._language) if row.purpose else ""
        reach = self.text(f"reach.{row.scope}", purposes=purposes)
        channel = row.source if row.source in CHANNELS else "other"
        return {
            "said": self.text(stop_key(row.reason, row.source), date=self.moment(row.at), reach=reach),
            "channel": self.text(f"proof.channel.{channel}") if row.source else "",
            "lifted": " ".join(self._lifted(row)),
            "after": self._words.count(self._language, "proof.after", len(late)) if late else None,
        }  # fmt: skip

    def _lifted(self, row: SuppressionRow) -> Iterator[str]:
        """That it ended, or for which purposes alone, by a consent given anew."""
        for name, at in row.lifted_for:
            purpose = self._words.purpose(self._controller, name, self._language)
            yield self.text("proof.lifted_for", purpose=purpose, at=self.moment(at))
        if row.lifted_at is not None:
            yield self.text("proof.lifted", at=self.moment(row.lifted_at))

    def mail(self, one: Passage) -> dict[str, Any]:
        """One mail: what became of it, on what ground."""
        return {
            "at": self.moment(one.ended_at or one.as_of), "subject": one.subject or self.text("campaigns.no_subject"),
            "outcome": self.outcome(one.state), **self.ground(one.reason_code), "cite": one.cite,
            "digest": one.digest.hex() if one.digest is not None else None, "packs": one.packs,
        }  # fmt: skip

    def outcome(self, state: str) -> str:
        return self.text(f"proof.outcome.{OUTCOMES.get(state, 'waiting')}")

    def ground(self, code: str) -> dict[str, str]:
        """Why, in words; a code that has none is shown as it is."""
        if code not in GROUND_AND_STEP:
            return {"why": code, "law": ""}
        reason = self._words.reason(code, self._language)
        return {"why": reason.sentence, "law": reason.ground}

    def entry(self, one: ShownEntry) -> dict[str, Any]:
        """One entry of the ledger in words."""
        kind = one.stored.kind.decode()
        return {
            "seq": one.stored.seq, "at": self.moment(datetime.fromtimestamp(one.stored.at / 1000, self.zone)),
            "what": self._words.entry(kind, self._language), "details": self._details(one),
            "hash": (one.stored.hash or b"").hex(),
        }  # fmt: skip

    def _details(self, one: ShownEntry) -> str:
        """What an entry names besides its kind: purposes, and who did it."""
        said = json.loads(one.stored.public)
        named = said.get("purposes") or ([said["purpose"]] if said.get("purpose") else [])
        purposes = [self._words.purpose(self._controller, str(name), self._language) for name in named]
        return ", ".join([*purposes, *([str(said["by"])] if said.get("by") else [])])
