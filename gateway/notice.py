"""Tells the submitter what became of a copy: a delivery report to the return path (RFC 3461, RFC 3464, RULES.md 2.4).

A report is a message of our own on the same stream and route, queued in the same transaction as what it reports. It
goes from the null sender to an address in the controller's own domains and nowhere else, so no report answers a report
and none goes to a stranger. Text alone: its readers are bounce handlers first, and people second.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import uuid_utils

from gateway import post
from gateway.config import Config, Controller, Stream
from gateway.letters import written
from gateway.mail.dsn import Report, Reported, make_dsn
from gateway.post import Outgoing
from gateway.sentences import one_line, tell
from gateway.store.contract import Arrival
from gateway.weigh import Scales, stranger
from gateway.words import Language, Words
from suppression.address import canonical
from suppression.explain import Explanation
from suppression.vault import KeyRing

CAMPAIGN = "delivery reports"


class Notices:
    """Makes reports. Made anew when the configuration changes."""

    def __init__(self, config: Config, words: Words, scales: Scales, ring: KeyRing) -> None:
        self._config, self._words, self._scales, self._ring = config, words, scales, ring

    def report(
        self, controller: Controller, stream: Stream, recipients: Sequence[Reported], *, mail_from: str,
        envid: str | None, ret: str | None, original: bytes, subject: str, arrived: datetime, now: datetime,
        why: Iterable[Explanation] = (),
    ) -> Arrival | None:  # fmt: skip
        """The report on one message, ready to be queued. None where the return path is no address of the controller's.

        `why`: what explains the reason codes in it, without anything of a person; each code is explained once.
        """
        address = canonical(mail_from)
        if address is None or not recipients or not _own(controller, address):
            return None
        language = self._words.pick([stream.language, controller.language])
        message_id, domain = uuid_utils.uuid7().bytes, stream.from_domains[0]
        title, intro = _opening(recipients)
        said = written(
            self._words, controller, "report", language, must=[one.address for one in recipients], title=title,
            intro=self._words.text(language, intro, subject=one_line(subject)),
            recipients=[_line(self._words, language, one) for one in recipients],
            why=[
                f"{code}: {tell(self._words, language, one, controller).text}"
                for code, one in {one.code: one for one in why}.items()
            ],
        )  # fmt: skip
        body = make_dsn(Report(
            to=mail_from, sender=f"mailer-daemon@{domain}", sender_name=controller.display_name,
            subject=said.subject, text=said.text, language=language,
            reporting_mta=self._config.hostname, message_id=f"<{message_id.hex()}@{self._config.hostname}>", at=now,
            arrived=arrived, envid=envid, ret=ret, recipients=tuple(recipients),
        ), original)  # fmt: skip
        case = post.service(post.DELIVERY_REPORT, domain, language)
        key = self._ring.recipient_keys(controller.id, address)[0]
        return post.queued(self._config, controller, stream, Outgoing(
            message_id=message_id, case=case, campaign=CAMPAIGN, to=mail_from, address=address, recipient_key=key,
            mail_from="", subject=said.subject, body=body, at=now,
            ruling=self._scales.lay(case, controller, stream)(stranger(controller.id, key), now),
        ))  # fmt: skip


def _own(controller: Controller, address: str) -> bool:
    """Whether an address is in one of the controller's domains or below, so that no stranger is told anything."""
    domain = address.rpartition("@")[2]
    return any(domain == own or domain.endswith(f".{own}") for own in controller.domains)


def _opening(recipients: Sequence[Reported]) -> tuple[str, str]:
    """Keys of the subject and of the first sentence."""
    if all(one.action == "relayed" for one in recipients):
        return "report.relayed_subject", "report.relayed_intro"
    if all(one.action == "delayed" for one in recipients):
        return "report.delayed_subject", "report.delayed_intro"
    if all(_kept_out(one) for one in recipients):
        return "report.blocked_subject", "report.blocked_intro"
    return "report.subject", "report.intro"


def _kept_out(one: Reported) -> bool:
    """By us, and not by a server."""
    return one.status == "5.7.1" and (one.diagnostic or "").startswith("X-Consentgate;")


def _line(words: Words, language: Language, one: Reported) -> str:
    """What became of one recipient: the address, what it means, and what was answered."""
    meaning = words.text(language, f"report.status.{_meaning(one)}")
    said = " ".join(filter(None, (one.status, one_line(one.diagnostic or ""))))
    return f"<{one_line(one.address)}>\n{meaning} ({said})"


_MEANINGS = {
    "5.2.2": "full", "5.2.3": "size", "5.3.4": "size", "5.4.7": "expired", "5.1.8": "refused", "5.1.7": "refused",
}  # fmt: skip
_MEANINGS_BY_SUBJECT = {"1": "address", "6": "content", "7": "refused"}


def _meaning(one: Reported) -> str:
    """A status in words, by RFC 3463: 5.1.x is about the address, 5.6.x about content, 5.7.x about policy."""
    if one.action in ("relayed", "delayed"):
        return one.action
    if _kept_out(one):
        return "kept_out"
    subject = one.status.split(".")[1]
    return _MEANINGS.get(one.status) or _MEANINGS_BY_SUBJECT.get(subject, "other")
