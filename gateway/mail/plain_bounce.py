"""Bounces that are nothing but words: qmail, Exim, old Sendmail, Exchange, Domino, and whatever else servers write.

Nothing is known here of single programs. A bounce is told by who wrote it (nobody: the null sender, a mailer daemon, a
postmaster) and by what it says; the recipients are the addresses at which the text points, the reason what it says
around them.

Total: never raises. Known limit: a report in a language whose words are not below is found by its sender and the
codes in it alone.
"""

from __future__ import annotations

import re
from itertools import islice

from gateway.mail.came_back import ADDRESS, CameBack, bare_address
from gateway.mail.delivery_report import MOST_RECIPIENTS, MOST_WORDS, Told, about, stage_of
from gateway.mail.event import Action
from gateway.mail.judgement import Stage, code_in, reply_code_in
from gateway.mail.phrase import Phrases, plain

_DAEMON = re.compile(
    r"mail(?:er)?.?daemon|post.?master|mail.?deliver|delivery (?:sub)?system|mail ?(?:sub)?system|mail administrator"
    r"|maildaemon|(?:system|network) administrator|mmdf|internet mail service|bounces?@",
    re.IGNORECASE,
)
_SUBJECT = Phrases((
    "undeliver", "undeliverable", "undelivered", "not deliverable", "nondeliver", "non deliver", "delivery fail",
    "delivery failure", "delivery has failed", "delivery notification", "delivery status", "delivery report",
    "delivery problem", "delivery error", "delivery delay", "delayed mail", "returned mail", "has been returned",
    "been returned to you", "returned to sender", "returned email", "mail returned", "return to sender",
    "failure notice", "failed mail", "failed delivery", "failed to deliver", "mail failure", "mail error",
    "mail system error", "mail delivery", "message delivery", "message delayed", "message undeliver",
    "message not deliver", "message status", "could not be delivered", "could not send", "could not deliver",
    "cannot be delivered", "cannot deliver", "unable to deliver", "not delivered", "was not delivered",
    "has not been delivered", "rejected mail", "user unknown", "no such user", "unknown user", "mailbox full",
    "nicht zustellbar", "unzustellbar", "zustellung", "unzustellbarkeit", "nicht zugestellt", "onbestelbaar",
    "niet bezorgd", "niet afgeleverd", "niet bestelbaar", "kan niet worden bezorgd", "non remis", "non distribue",
    "non delivre", "echec de", "message non", "avis de non remise", "non recapitabile", "mancata consegna",
    "no entregado", "no se ha podido entregar", "devuelto", "nao entregue", "не доставлено", "недоставлен", "配信不能",
    "配信できません", "送信できません", "エラー", "退信",
    "投递失败", "warning could not send", "warning message", "still being retried",
    "error sending your", "problem sending your",
))  # fmt: skip
_TEXT = Phrases((
    "has been returned", "trouble delivering", "rejected recipient", "could not be delivered", "could not deliver",
    "cannot be delivered", "cannot deliver", "can not be delivered", "unable to deliver", "not able to deliver",
    "was not able to deliver", "was not delivered", "were not delivered", "were unable to deliver",
    "wasnt able to deliver", "was not able", "not been delivered", "not be delivered", "undeliverable",
    "did not reach", "has not reached", "failed to deliver", "delivery to the following", "delivery failed",
    "delivery has failed", "delivery failure", "permanent error", "permanent fatal errors", "fatal error",
    "following address", "following recipient", "following addresses", "these recipients", "failed addresses",
    "address failed", "transcript of session", "your message to", "message you sent", "mail you sent",
    "returned mail", "mail system", "user unknown", "unknown user", "no such user", "invalid recipient",
    "mailbox full", "over quota", "does not exist", "failure reason", "failure reasons", "unknown recipient",
    "kon niet worden", "niet worden afgeleverd", "niet worden bezorgd", "nicht zugestellt", "konnte nicht",
    "nicht zustellbar", "na pas pu", "n a pas pu", "n ont pas pu", "non consegnato", "no se pudo entregar",
    "no pudo ser entregado", "не может быть доставлено", "не удалось доставить",
    "не доставлено", "配信できません", "配信不能",
    "不能送达", "无法投递", "deferred", "delayed", "retry", "will be retried", "will keep trying",
))  # fmt: skip
_STILL_TRYING = Phrases((
    "will be retried", "will continue to be attempted", "will keep trying", "will keep attempting",
    "will continue trying", "will continue to try", "still trying", "still being retried", "do not need to resend",
    "no need to resend", "not yet been delivered", "has been delayed", "is delayed", "have been delayed",
    "warning message only", "delivery attempts will continue", "will try again", "this is a warning",
    "wird erneut versucht", "opnieuw geprobeerd", "nouvelles tentatives", "delivery delayed", "message delayed",
    "message * delayed", "notification delay",
    "could not send message for past",
))  # fmt: skip
_GAVE_UP = Phrases((
    "giving up", "gave up", "given up", "permanent error", "permanently", "final failure", "not going to try again",
    "will not be retried", "failed permanently", "has been in the queue too long",
))  # fmt: skip
_OURS = re.compile(
    r"^[ \t]*>?[ \t]*(?:from|sender|reply-to|return-path|message-id|cc|received|references|in-reply-to|x-[\w-]{1,60})"
    r"[ \t]*:",
    re.IGNORECASE,
)
_NAMED = (
    "final-recipient", "recipient", "recipients", "intended recipient", "failed recipient", "undeliverable address",
    "rcpt", "rcpts", "addressed to", "error-for", "unknown user", "user unknown", "undeliverable to", "delivered to",
    "following address", "address", "mailbox", "user", "e-mail", "email", "to", "for", "name", "destinataire",
    "empfänger", "ontvanger", "получатель", "宛先",
)  # fmt: skip
_POINTS = re.compile(
    r"""^[ \t*>:\[•·-]{0,12}(?:[45]\d\d[ -][^<@]{0,40}<"""
    rf"""|(?:{"|".join(_NAMED)})(?:[ \t]{{0,3}}(?:address|name|mailbox|e-?mail))?"""
    r"""[ \t]{0,8}[=:][ \t]{0,20}\[?(?:rfc822;|smtp:)?[ \t]{0,3}|[^\n@]{0,120}\bsmtp[=:]"""
    r"""|"?['<(]?)(?=["'<(]?[^\s<>()"',;:=@]{1,128}@)""",
    re.IGNORECASE,
)
_SAYS = re.compile(
    r"unknown|no such|not found|invalid|unrout|undeliver|does(?:n.t| not) exist|rejected|failed|full|quota|denied"
    r"|refused|not known|disabled|unavailable|inconnu|unbekannt|onbekend|existiert|bestaat|desconocid"
    r"|(?<!\d)[45]\d\d[ -]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}",
    re.IGNORECASE,
)
_TO = re.compile(r"^[ \t*>]{0,12}(?:to|for|name|aan|an|à)[ \t]{0,3}:", re.IGNORECASE)
_LISTED = re.compile(r"^[ \t]{0,8}<[^<>@\s]{1,128}@[^<>\s]{1,255}>:", re.MULTILINE)
_NOT_MEANT = ("mail from", "email from", "message from", "messages from", "contact", "mailto:", "write to", "reply to")
"""Behind these words an address is no recipient that failed."""
_RCPT = re.compile(r"rcpt to[ \t]*:[ \t]*<?([^\s<>]{1,128}@[^\s<>:]{1,255})>?", re.IGNORECASE)
_MOST_LINES = 2000


def is_bounce(mail: CameBack) -> bool:
    """Whether a mail without a machine-readable part tells of a delivery."""
    if mail.field(b"x-failed-recipients"):
        return True
    author = f"{mail.field(b'from')} {mail.field(b'sender')}"
    nobody = bool(_DAEMON.search(author[:1000])) or mail.field(b"return-path").strip() == "<>"
    subject, text = plain(mail.field(b"subject")), plain(mail.report)
    in_subject, in_text = _SUBJECT.within(subject), _TEXT.within(text)
    if mail.message.root.parameters.get(b"report-type", b"").lower() == b"delivery-status":
        return True
    if nobody and "daemon" in author.lower():
        return True
    if nobody:
        returns = any(part.type == b"message/rfc822" for part in mail.parts)
        return in_subject or in_text or returns or code_in(mail.report) is not None or bool(_LISTED.search(mail.report))
    return in_subject and in_text and not mail.field(b"in-reply-to")


def read_words(mail: CameBack) -> list[Told]:
    """What a bounce without a machine-readable part tells; one entry without an address where it names nobody."""
    text = mail.report
    action = action_of(f"{mail.field(b'subject')}\n{text}")
    addresses: list[str | None] = [*_recipients(mail, text)] or [None]
    said = [words or "" for words in about(text, [(address,) for address in addresses])]
    if len(addresses) > 1 and any(map(_says, said)):
        return [_told(address, words, words, action) for address, words in zip(addresses, said, strict=True)]
    whole = text[:MOST_WORDS]  # one reason for all
    return [_told(address, words or whole, whole, action) for address, words in zip(addresses, said, strict=True)]


def _told(address: str | None, words: str, around: str, action: Action) -> Told:
    stage: Stage | None = stage_of(words, "") or stage_of(around, "")
    if stage is None and reply_code_in(around) is None:
        stage = "local"
    status = code_in(words) or code_in(around)
    return Told(address=address, action=action, status=status, words=words, around=around, stage=stage)


def action_of(text: str) -> Action:
    """Whether a text, or the subject above it, says that delivery is still being tried."""
    words = plain(text)
    return "delayed" if _STILL_TRYING.within(words) and not _GAVE_UP.within(words) else "failed"


def _recipients(mail: CameBack, text: str) -> list[str]:
    """The addresses a bounce is about, in its order: those its header names, else those its text points at, else the
    recipient of the mail that came back."""
    named = [found for value in mail.fields(b"x-failed-recipients") for found in ADDRESS.findall(value)]
    if not named:
        named = _pointed_at(text, _own(mail))
    if not named:
        recipient = mail.original(texts=False).recipient
        named = [recipient] if recipient else []
    seen: dict[str, str] = {}
    for address in named[:MOST_RECIPIENTS]:
        seen.setdefault(address.rstrip(".").lower(), address.rstrip("."))
    return list(seen.values())


def _own(mail: CameBack) -> set[str]:
    """Addresses that are not meant: whom the report is to and from, and the sender of what came back."""
    names = (b"to", b"from", b"sender", b"reply-to", b"delivered-to", b"envelope-to", b"return-path")
    values = [mail.field(name) for name in names]
    author = mail.original(texts=False).author
    return {found.lower() for value in [*values, author or ""] if (found := bare_address(value))}


def _pointed_at(text: str, own: set[str]) -> list[str]:
    """Addresses by how strongly the text points at them; only the strongest kind there is is taken.

    In their order: in a RCPT command, at the start of a line, or behind "Recipient:" and the like; behind a mere "To:",
    which may repeat the header of the mail; in a line that says why; any other.
    """
    ranks: list[list[str]] = [[], [], [], []]
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        if "@" not in line or _OURS.match(line):
            continue
        for command in islice(_RCPT.finditer(line), 20):
            _take(ranks[0], command[1], own)
        points, header = _POINTS.match(line), _TO.match(line)
        for found in islice(ADDRESS.finditer(line), 20):
            if _before(line, found.start()).endswith(_NOT_MEANT):
                continue
            if header is not None:
                rank = 1
            elif points is not None and found.start() <= points.end() + 1:
                rank = 0
            else:
                rank = 2 if _says(line) else 3
            _take(ranks[rank], found[0], own)
    return next((rank for rank in ranks if rank), [])


def _before(line: str, at: int) -> str:
    """The last words before a place in a line."""
    return " ".join(line[max(0, at - 60) : at].rstrip(" <\"'[(").lower().split())


def _says(text: str) -> bool:
    return _SAYS.search(text) is not None


def _take(rank: list[str], address: str, own: set[str]) -> None:
    address = address.rstrip(".")
    lowered = address.lower()
    service = lowered.startswith(("mailer-daemon@", "postmaster@", "abuse@", "support@", "helpdesk@"))
    if lowered not in own and not service and len(rank) < MOST_RECIPIENTS:
        rank.append(address)
