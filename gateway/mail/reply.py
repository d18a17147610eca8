"""What the gateway says over SMTP: every reply it gives, in one table, and the reply a set of decisions amounts to.

Purpose: one vocabulary, so that the documents can list it and a tool's operator can look a reply up.
It never carries an address, a subject or an error text of ours: only fixed words, reason codes and ids.
Failures: `Reply` refuses (ValueError) what is not one clean line; nothing else raises.
Known limit: a reply is one line; the lines of EHLO are the server's own business.

Sources: RFC 5321 section 4.2 (codes), RFC 3463 and RFC 5248 (enhanced codes), RULES 2.4 (which decision gives which).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

OnBlock = Literal["record", "reject", "bounce"]

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")
_TEXT = re.compile(r"[\x20-\x7e]*\Z")
_WORD = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One SMTP reply line.

    `code` 200-599 (RFC 5321 4.2); `enhanced` as in RFC 3463, None where a reply carries none (greeting, 3yz);
    `text` printable ASCII without the codes; `when` says for the documents when the reply is given.
    ValueError when it would not make one valid line or the two codes are of different classes.
    """

    code: int
    enhanced: str | None
    text: str
    when: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"reply code {self.code} is outside 200-599")
        if self.enhanced is not None and not (_ENHANCED.match(self.enhanced) and self.enhanced[0] == str(self.code)[0]):
            raise ValueError(f"enhanced code {self.enhanced!r} does not go with {self.code}")
        if not _TEXT.match(self.text) or len(self.text) > 480:  # RFC 5321 4.5.3.1.5: a reply line has 512 octets
            raise ValueError("reply text is not one line of printable ASCII")

    @property
    def line(self) -> str:
        """The reply as sent, without CRLF: "250 2.0.0 text"."""
        codes = f"{self.code}" if self.enhanced is None else f"{self.code} {self.enhanced}"
        return f"{codes} {self.text}"

    @property
    def accepts(self) -> bool:
        """True for 2yz and 3yz: the command went through."""
        return self.code < 400

    def with_text(self, text: str) -> Reply:
        """The same reply with other words."""
        return replace(self, text=text)


def _r(code: int, enhanced: str | None, text: str, when: str) -> Reply:
    return Reply(code=code, enhanced=enhanced, text=text, when=when)


# 2yz, 3yz: it went through
BYE = _r(221, "2.0.0", "Goodbye", "QUIT")
LOGGED_IN = _r(235, "2.7.0", "Authentication succeeded", "AUTH with the right password (RFC 4954)")
OK = _r(250, "2.0.0", "OK", "RSET, NOOP")
OK_SENDER = _r(250, "2.1.0", "Sender OK", "MAIL accepted")
OK_RECIPIENT = _r(250, "2.1.5", "Recipient OK", "RCPT accepted; the decision follows after DATA")
OK_QUEUED = _r(250, "2.0.0", "Message queued as", "committed to disk, at least one copy will leave; message id last")
OK_RECORDED = _r(
    250,
    "2.0.0",
    "Message recorded, nobody in it may be mailed, see the report under",
    "committed to disk, every recipient is kept out and the stream records or bounces; message id last",
)
OK_HELD = _r(
    250,
    "2.0.0",
    "Message held, it looks like advertising and waits for an answer, as",
    "committed to disk, on a service stream that holds such mail (docs/mislabelled.md); message id last",
)
OK_RETURNED = _r(250, "2.0.0", "Report taken as", "the return-path listener stored a bounce, complaint or opt-out")
CANNOT_VERIFY = _r(252, "2.5.0", "Send some mail and see", "VRFY; an address list is not to be read out")
START_TLS = _r(220, "2.0.0", "Ready to start TLS", "STARTTLS (RFC 3207)")
GO_ON = _r(354, None, "End data with <CRLF>.<CRLF>", "DATA accepted")

# 4yz: try again later
SHUTTING_DOWN = _r(421, "4.3.2", "Shutting down, try again soon", "the gateway is being stopped or reloaded")
IDLE_TOO_LONG = _r(421, "4.4.2", "Idle too long, closing", "no command within the idle limit")
DATA_TOO_SLOW = _r(421, "4.4.2", "Message took too long, closing", "DATA did not end within its limit")
TOO_MANY_CONNECTIONS = _r(421, "4.7.0", "Too many connections", "the limit over all peers or of this peer is reached")
TOO_MANY_ERRORS = _r(421, "4.7.0", "Too many errors, closing", "a peer that keeps sending commands that fail")
STORE_DOWN = _r(451, "4.3.0", "Store not available, try again", "the database cannot be used; nothing was kept")
INTERNAL = _r(451, "4.3.0", "Internal error, try again", "a bug on our side; the message was not kept")
SIGNING_DOWN = _r(451, "4.7.0", "Signing key not available, try again", "marketing whose DKIM key cannot be used")
TOO_MANY_MESSAGES = _r(
    451,
    "4.7.1",
    "Too many messages from your address, try again later",
    "MAIL at the return path over the rate of a peer",
)
QUEUE_FULL = _r(452, "4.3.1", "Queue or disk nearly full, try again", "the limit on queued copies or free disk is near")
TOO_MANY_RECIPIENTS = _r(452, "4.5.3", "Too many recipients, send the rest separately", "RCPT over the limit")
LOGIN_DOWN = _r(454, "4.7.0", "Login cannot be checked now, try again", "AUTH while the check cannot be made")
LOGIN_SLOWED = _r(454, "4.7.0", "Too many wrong passwords, try again later", "AUTH during back-off")

# 5yz: the client has to change something
UNKNOWN_COMMAND = _r(500, "5.5.2", "Command not recognised", "a verb the gateway does not know")
BAD_LINE = _r(500, "5.5.2", "Bare CR, bare LF or NUL in a command", "a command line that is not clean CRLF text")
LINE_TOO_LONG = _r(500, "5.5.2", "Command line too long", "a command over the limit")
BAD_ARGUMENTS = _r(501, "5.5.4", "Syntax error in arguments", "a known command with arguments that cannot be read")
BAD_SENDER = _r(501, "5.1.7", "Sender address is not valid", "MAIL FROM with an address that is none")
BAD_RECIPIENT = _r(501, "5.1.3", "RECIPIENT_INVALID Recipient address is not valid", "RCPT TO with what is no address")
BAD_BASE64 = _r(501, "5.5.2", "Cannot decode the response", "AUTH with broken base64")
AUTH_CANCELLED = _r(501, "5.7.0", "Authentication cancelled", "the client sent * during AUTH")
NOT_IMPLEMENTED = _r(502, "5.5.1", "Command not implemented", "EXPN, HELP topics, TURN and their like")
BAD_SEQUENCE = _r(503, "5.5.1", "Bad sequence of commands", "RCPT before MAIL, DATA before RCPT, AUTH twice ...")
UNKNOWN_MECHANISM = _r(504, "5.5.4", "Authentication mechanism not supported", "AUTH with other than PLAIN or LOGIN")
LOGIN_NEEDED = _r(530, "5.7.0", "Authentication required", "MAIL before AUTH")
LOGIN_WRONG = _r(535, "5.7.8", "User name or password wrong", "AUTH that does not match")
LOGIN_ELSEWHERE = _r(535, "5.7.8", "Login not allowed from this address", "AUTH from outside the login's address list")
ENCRYPTION_NEEDED = _r(538, "5.7.11", "Encryption required for this mechanism", "AUTH in clear off loopback")
DEAD_ADDRESS = _r(550, "5.1.1", "ADDRESS_UNDELIVERABLE", "the address bounced for good and the stream rejects")
UNKNOWN_RECIPIENT = _r(550, "5.1.1", "No such address here", "the return-path listener does not know the address")
MESSAGE_FAULT = _r(550, "5.6.0", "Message is not valid", "content that cannot be taken apart or breaks RFC 5322")
BARE_LINE_END = _r(550, "5.6.0", "Bare CR, bare LF or NUL in the message", "DATA with line ends that invite smuggling")
HEADER_TOO_LONG = _r(550, "5.6.0", "Header line over 998 octets", "RFC 5322 2.1.1")
NO_UTF8_HERE = _r(550, "5.6.7", "Non-ASCII address without SMTPUTF8", "RFC 6531 3.5")
POLICY = _r(550, "5.7.1", "Blocked by policy", "blocked by a rule; the text becomes the reason code and a reference")
SENDER_NOT_OWN = _r(
    550, "5.7.1", "SENDER_NOT_AUTHORISED MAIL FROM is not in a domain of this login", "MAIL FROM in a foreign domain"
)
UNDECLARED = _r(550, "5.7.1", "Not declared for this login:", "an unknown stream, purpose or category; it follows")
HIDDEN_RECIPIENTS = _r(550, "5.6.0", "X-SMTPAPI with recipients is refused", "recipients come from the envelope only")
RELAY_DENIED = _r(550, "5.7.1", "Relaying denied", "the return-path listener relays nothing")
TOO_LARGE = _r(552, "5.3.4", "Message over the size limit", "SIZE in MAIL or the content itself (RFC 1870)")
NO_RECIPIENTS = _r(554, "5.5.1", "No valid recipients", "DATA when every RCPT was refused")
MAIL_LOOP = _r(554, "5.4.6", "Too many hops", "as many Received fields as a loop leaves (RFC 5321 6.3)")
UNKNOWN_PARAMETER = _r(555, "5.5.4", "Parameter not recognised", "MAIL or RCPT with a parameter that was not offered")

TABLE: Mapping[str, Reply] = {name: value for name, value in globals().items() if isinstance(value, Reply)}
"""Every reply by name; the documents are checked against it."""


class Decided(Protocol):
    """What is read of a decision: its verdict and its one reason code (RULES 2.1.2)."""

    @property
    def verdict(self) -> str: ...

    @property
    def reason_code(self) -> str: ...


def queued(message_id: str, base: Reply = OK_QUEUED) -> Reply:
    """A 250 whose last word is the message id (tools read the queue id there). ValueError if it is not one word."""
    if not _WORD.match(message_id):
        raise ValueError("message id is not one printable word")
    return base.with_text(f"{base.text} {message_id}")


def policy(reason_code: str, reference: str = "") -> Reply:
    """550 5.7.1 CODE, for the authenticated submitter only (RULES 2.4)."""
    return POLICY.with_text(f"{reason_code} reference {reference}" if reference else reason_code)


def undeclared(what: str) -> Reply:
    """550 5.7.1 for a stream, purpose or category nobody declared; what cannot be shown in ASCII becomes "?"."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in what)[:80]
    return UNDECLARED.with_text(f"{UNDECLARED.text} {shown}")


DEFERRALS: Mapping[str, Reply] = {"EVIDENCE_STORE_UNAVAILABLE": STORE_DOWN, "DKIM_UNAVAILABLE": SIGNING_DOWN}
"""The reply to each technical cause that can pass (RULES 2.1.4); any other is answered as the store's."""


def for_recipient(
    decision: Decided, on_block: OnBlock, reference: str = "", *, message_level: Collection[str]
) -> Reply | None:
    """The reply at RCPT when the decision is known by then; None: take the recipient, DATA answers.

    Only what concerns this recipient alone is refused here: a message-level code is answered once, after DATA.
    """
    if decision.verdict == "allow":
        return None
    if decision.verdict == "defer":
        return DEFERRALS.get(decision.reason_code, STORE_DOWN)
    if decision.reason_code == "RECIPIENT_INVALID":
        return BAD_RECIPIENT
    if on_block != "reject" or decision.reason_code in message_level:
        return None
    return DEAD_ADDRESS if decision.reason_code == "ADDRESS_UNDELIVERABLE" else policy(decision.reason_code, reference)


def for_decisions(
    decisions: Sequence[Decided], on_block: OnBlock, message_id: str, *, message_level: Collection[str]
) -> Reply:
    """The reply after DATA, given one decision per recipient.

    In order (RULES 2.4):
    1. somebody is allowed: 250; the others are treated by `on_block` without this reply.
    2. nobody is allowed, somebody is deferred: 451. The client comes again, and then the message may well be
       lawful for that recipient; a refusal now would turn a passing fault into lost mail.
    3. nobody is allowed, somebody has a message-level code (`suppression.decision.MESSAGE_LEVEL`): 550 5.7.1 CODE
       whatever `on_block` says, so that a wrong setting is loud.
    4. every address is invalid: 501 5.1.3.
    5. `reject`: 550 5.7.1 and the first code (550 5.1.1 when every address is dead).
    6. `record`, `bounce`: 250; kept out and reported.
    """
    if any(d.verdict == "allow" for d in decisions):
        return queued(message_id)
    for d in decisions:
        if d.verdict == "defer":
            return DEFERRALS.get(d.reason_code, STORE_DOWN)
    codes = [d.reason_code for d in decisions]
    for code in codes:
        if code in message_level:
            return policy(code, message_id)
    if not codes:
        return NO_RECIPIENTS
    if set(codes) == {"RECIPIENT_INVALID"}:
        return BAD_RECIPIENT
    if on_block != "reject":
        return queued(message_id, OK_RECORDED)
    if set(codes) == {"ADDRESS_UNDELIVERABLE"}:
        return DEAD_ADDRESS
    own = [code for code in codes if code not in ("ADDRESS_UNDELIVERABLE", "RECIPIENT_INVALID")]
    return policy((own or codes)[0], message_id)
