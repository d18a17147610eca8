"""Letters with invented contents, to look at before somebody gets one; and what is wrong with a controller's own
templates, found the same way that the gateway would find it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import TemplateSyntaxError

from gateway.config import Config, Controller
from gateway.confirmation import WINDOW
from gateway.correspond import contact_of
from gateway.letters import NAMES, Name, Written, own, written
from gateway.mail.dsn import Report, Reported, make_dsn
from gateway.mail.letter import Letter, make_letter
from gateway.words import LANGUAGES, Language, Words

TO: Final = "anna@example.org"
NOWHERE: Final = "a-link-that-leads-nowhere"
REFERENCE: Final = "7KQ2M"
SELLER: Final = "Expo B.V."
_BOB: Final = Reported(
    address="bob@example.net", action="failed", status="5.1.1", diagnostic="smtp; 550 5.1.1 no such user"
)
_ORIGINAL: Final = b"From: news@example.com\r\nTo: bob@example.net\r\nMessage-ID: <1@example.com>\r\n\r\nHallo\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimens:
    """Makes them. `now`: aware."""

    config: Config
    words: Words
    now: datetime

    def show(self, controller: Controller, name: Name, language: Language) -> bytes:
        """The letter as it would leave, unsigned."""
        must, facts = self._facts(controller, name, language)
        said = written(self.words, controller, name, language, must=must, **facts)
        domain = controller.domains[0]
        if name == "report":
            return make_dsn(Report(
                to=f"news@{domain}", sender=f"mailer-daemon@{domain}", sender_name=controller.display_name,
                subject=said.subject, text=said.text, language=language, reporting_mta=self.config.hostname,
                message_id=f"<specimen@{domain}>", at=self.now, arrived=self.now - timedelta(minutes=1), envid=None,
                ret=None, recipients=(_BOB,),
            ), _ORIGINAL)  # fmt: skip
        return make_letter(Letter(
            to=TO, sender=f"postmaster@{domain}", sender_name=controller.display_name, subject=said.subject,
            text=said.text, html=said.html, language=language, message_id=f"<specimen@{domain}>", at=self.now,
        ))  # fmt: skip

    def check(self, controller: Controller) -> Iterator[tuple[Name, Language, str]]:
        """What is wrong with a controller's own templates: letter, language, and what it is."""
        for name in NAMES:
            for language in LANGUAGES:
                try:
                    self._own(controller, name, language)
                except TemplateSyntaxError as wrong:
                    yield name, language, f"{wrong.filename or wrong.name}:{wrong.lineno}: {wrong.message}"
                except Exception as wrong:  # whatever a template may raise; `written` passes it by
                    yield name, language, f"{type(wrong).__name__}: {wrong}"

    def _own(self, controller: Controller, name: Name, language: Language) -> Written:
        must, facts = self._facts(controller, name, language)
        return own(self.words, controller, name, language, must=must, **facts)

    def _facts(
        self, controller: Controller, name: Name, language: Language
    ) -> tuple[tuple[str, ...], Mapping[str, Any]]:
        """What the letter has to show, and what it says."""
        say, zone, now = self.words.text, ZoneInfo(controller.timezone), self.now
        moment, day = self.words.moment(language, now, zone), self.words.day(language, now, zone)
        purposes = [self.words.purpose(controller, one, language) for one in controller.purposes]
        if name == "confirm":
            link = f"{self.config.public_url.rstrip('/')}/c/{NOWHERE}"
            return (link,), {
                "link": link, "parent": False, "purposes": purposes, "asked_at": moment,
                "origin": f"{self.config.public_url.rstrip('/')}/s/{controller.id}/form",
                "until": self.words.moment(language, now + WINDOW, zone),
            }  # fmt: skip
        if name == "stopped":
            stops = [say(language, "stopped_mail.all", date=moment, reference=REFERENCE)]
            stops += [
                say(language, "stopped_mail.one", date=moment, reference=REFERENCE, purpose=one) for one in purposes
            ]
            return (REFERENCE,), {"stops": stops, "unread": False, **contact_of(controller)}
        if name == "restriction_ends":
            held = [say(language, "dossier.held.all", date=day)]
            return (day,), {"held": held, "date": day, **contact_of(controller)}
        if name == "obtained":
            return (SELLER,), {"source": SELLER, "purposes": purposes, **contact_of(controller)}
        if name == "head":
            hash_ = "9f" * 32
            head = {
                "controller": controller.id, "seq": 812, "hash": hash_, "at": now, "public_key": "5c" * 32,
                "signature": "e1" * 64,
            }  # fmt: skip
            return (hash_,), {"heads": [head], "date": day}
        lines = [f"<{_BOB.address}>\n{say(language, 'report.status.address')} ({_BOB.status} {_BOB.diagnostic})"]
        intro = say(language, "report.intro", subject="Wijn")
        return (_BOB.address,), {"title": "report.subject", "intro": intro, "recipients": lines, "why": []}
