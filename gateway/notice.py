"""Tells the submitter what became of a copy: a delivery report to the return path (RFC 3461, RFC 3464, RULES.md 2.4).

A report is a message of our own on the same stream and route, queued in the same transaction as what it reports. It
goes from the null sender to an address in the controller's own domains (the front door saw to that), so no report
answers a report and none goes to a stranger.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import uuid_utils

from gateway.config import Config, Controller, Stream
from gateway.mail.dsn import Report, Reported, make_dsn, summaries
from gateway.mail.envelope import Rcpt
from gateway.sentences import tell
from gateway.store.contract import Arrival, NewCopy
from gateway.weigh import Case, Scales, stranger
from gateway.words import Words
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
        """The report on one message, ready to be queued. None where the return path is no address.

        `why`: what explains the reason codes in it, without anything of a person; each code is explained once.
        """
        address = canonical(mail_from)
        if address is None or not recipients:
            return None
        language = self._words.pick([stream.language, controller.language])
        message_id, domain = uuid_utils.uuid7().bytes, stream.from_domains[0]
        relayed = all(one.action == "relayed" for one in recipients)
        title = self._words.text(language, "report.relayed_subject" if relayed else "report.subject")
        intro = self._words.text(language, "report.relayed_intro" if relayed else "report.intro", subject=subject)
        lines = [intro, "", *summaries(recipients)]
        for code, said in {said.code: said for said in why}.items():
            lines += ["", f"{code}: {tell(self._words, language, said, controller).text}"]
        body = make_dsn(Report(
            to=mail_from, sender=f"mailer-daemon@{domain}", sender_name=controller.display_name,
            subject=title, text="\n".join(lines), language=language,
            reporting_mta=self._config.hostname, message_id=f"<{message_id.hex()}@{self._config.hostname}>", at=now,
            arrived=arrived, envid=envid, ret=ret, recipients=tuple(recipients),
        ), original)  # fmt: skip
        case = Case(
            message_class="mandatory_notice", promotional=False, purpose=None, categories=(), transaction_ref=False,
            restriction_exemption=None, unsubscribe="not_injectable", from_domain=domain, matched=("delivery report",),
        )  # fmt: skip
        key = self._ring.recipient_keys(controller.id, address)[0]
        ruling = self._scales.lay(case, controller, stream)(stranger(controller.id, key), now)
        return Arrival(
            controller_id=controller.id, message_id=message_id, at=now, stream=stream.name, campaign=CAMPAIGN,
            mode="enforce", kind=case.to_json(), subject=title, body=body,
            size=len(body), worker="",
            envelope={
                "mail_from": "", "ret": None, "envid": None, "helo": self._config.hostname, "peer_ip": "127.0.0.1",
                "tls": False, "login": False, "body_8bit": not body.isascii(), "smtputf8": not mail_from.isascii(),
            },
            copies=[NewCopy(
                copy_no=0, recipient_key=key, address=address, rcpt=pack_rcpt(Rcpt(address=mail_from)),
                state="queued", ruling=ruling, route=stream.route, due_at=now,
            )],
        )  # fmt: skip


def pack_rcpt(rcpt: Rcpt) -> bytes:
    """A recipient as it waits in the queue."""
    return json.dumps({"address": rcpt.address, "notify": sorted(rcpt.notify), "orcpt": rcpt.orcpt}).encode()


def unpack_rcpt(packed: bytes) -> Rcpt:
    """The recipient again."""
    fields = json.loads(packed)
    return Rcpt(address=fields["address"], notify=frozenset(fields["notify"]), orcpt=fields["orcpt"])
