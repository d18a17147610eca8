"""Whether nobody wrote a mail: out-of-office replies, receipts, confirmations by machines (RFC 3834, RFC 8098).

Most say so in a field. Those that do not are told by how their subject begins, or by what they open with; a subject
alone that speaks of holidays is no sign, newsletters sell them.

Total: never raises.
"""

from __future__ import annotations

import re

from gateway.mail.came_back import CameBack
from gateway.mail.phrase import Phrases, plain

_FIELDS = (
    b"x-autoreply", b"x-autorespond", b"x-autoresponder", b"x-auto-reply", b"x-autoreply-from", b"x-mail-autoreply",
    b"x-auto-respond", b"x-autoreply-to", b"x-vacation", b"x-ms-exchange-generated-message-source",
)  # fmt: skip
_REPLY = re.compile(r"^[\s\[]*(?:re|aw|antw|antwoord|sv|r|rif|ref)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)
_SUBJECT = (
    "automatic reply", "automatic response", "automated reply", "automated response", "automatically generated",
    "auto reply", "autoreply", "auto response", "autoresponse", "auto responder", "autoresponder",
    "auto out of office", "out of office", "out of the office", "ooo", "auto", "away from", "away until", "i am away",
    "im away", "on vacation", "vacation reply", "vacation message", "on leave", "on holiday", "on annual leave",
    "maternity leave", "parental leave", "not in the office", "no longer with", "read", "receipt confirmation",
    "your message was read", "automatisch antwoord", "automatische reactie", "automatische beantwoording",
    "automatisch bericht", "afwezig", "afwezigheid", "ik ben afwezig", "niet aanwezig", "niet op kantoor",
    "buiten kantoor", "met vakantie", "op vakantie", "vakantiemelding", "ontvangstbevestiging", "gelezen",
    "automatische antwort", "automatische ruckantwort", "abwesenheit", "abwesenheitsnotiz", "abwesenheitsnachricht",
    "abwesend", "nicht im buro", "im urlaub", "urlaub", "eingangsbestatigung", "gelesen",
    "automatische eingangsbestatigung", "reponse automatique", "message automatique", "absence", "absent", "absente",
    "en conge", "en conges", "en vacances", "notification d absence", "message d absence", "accuse de reception",
    "lu", "risposta automatica", "fuori sede", "fuori ufficio", "assente", "respuesta automatica",
    "fuera de la oficina", "ausencia", "resposta automatica", "autosvar", "automatiskt svar", "fravaer",
    "automaattinen vastaus", "automatyczna odpowiedz", "automaticka odpoved",
    "автоответ", "自動返信", "自動応答", "自动回复",
)  # fmt: skip
_TEXT = Phrases((
    "out of office", "out of the office", "away from the office", "away from my office", "not in the office",
    "currently away", "currently on leave", "currently on vacation", "currently on holiday", "i am on leave",
    "i am on vacation", "i am on holiday", "im on vacation", "im on holiday", "annual leave", "maternity leave",
    "limited access to e mail", "limited access to email", "limited access to my email", "will be back on",
    "will return on", "will respond upon my return", "upon my return", "automatic reply", "automated reply",
    "automated response", "auto reply", "automatically generated", "this is an automatic", "this is an automated",
    "we have received your", "mailbox is not monitored", "is not monitored", "ik ben afwezig", "ben ik afwezig",
    "ik ben niet aanwezig", "ik ben met vakantie", "ik ben op vakantie", "ben ik met vakantie", "niet op kantoor",
    "afwezig tot", "weer aanwezig", "weer bereikbaar", "bij mijn terugkomst", "automatisch antwoord",
    "automatisch gegenereerd", "automatisch bericht", "automatische reactie", "wij hebben uw bericht ontvangen",
    "wij hebben uw e mail ontvangen", "we hebben je bericht ontvangen", "ich bin nicht im buro",
    "ich bin derzeit nicht", "ich bin im urlaub", "bin ich im urlaub", "ausser haus", "bin ich nicht erreichbar",
    "nicht im hause", "bin ich wieder", "wieder erreichbar", "automatische antwort", "automatisch generiert",
    "automatisch erstellt", "ich bin bis", "abwesend", "vielen dank fur ihre nachricht", "wird nicht weitergeleitet",
    "je suis absent", "je suis absente", "je suis en conge", "je suis en conges", "je suis en vacances",
    "actuellement absent", "actuellement absente", "absent du bureau", "absente du bureau", "de retour le",
    "a mon retour", "reponse automatique", "message automatique", "nous avons bien recu",
    "ne pas repondre a ce message",
))  # fmt: skip
_OPENING = 700
"""Characters in which an absence is told."""


def is_automatic(mail: CameBack) -> bool:
    """Whether a machine answered, by the mail's fields or its subject."""
    submitted = mail.field(b"auto-submitted").strip().lower()
    if submitted and not submitted.startswith("no"):
        return True
    if mail.message.root.parameters.get(b"report-type", b"").lower() == b"disposition-notification":
        return True
    if any(mail.message.get(name) is not None for name in _FIELDS):
        return True
    if mail.field(b"precedence").strip().lower() in ("auto_reply", "auto-reply", "autoreply"):
        return True
    if mail.field(b"x-apple-action").strip().upper() == "VACATION":
        return True
    return begins_automatic(mail.field(b"subject"))


def begins_automatic(subject: str) -> bool:
    """Whether a subject begins as those of automatic replies do, and as those of people's replies do not."""
    if _REPLY.match(subject):
        return False
    first = plain(subject[:200])
    return any(first.startswith(f" {phrase} ") and (len(phrase) > 4 or ":" in subject[:12]) for phrase in _SUBJECT)


def opens_automatic(text: str) -> bool:
    """Whether a text opens as a machine's does that stands in for somebody."""
    return _TEXT.within(plain(text[:_OPENING]))
