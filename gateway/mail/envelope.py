"""The SMTP envelope as values: who sends, to whom, with which parameters (RFC 5321, RFC 3461, RFC 6531).

Purpose: read the arguments of MAIL and RCPT strictly, once, at the edge; everybody else gets `Envelope` and `Rcpt`.
It never looks at the message fields: recipients come from RCPT alone.
Failures: a function here returns the `Reply` to give (501, 550, 555) where the peer is wrong; nothing raises.
Known limits: an address is not normalised here (that is suppression/address.py) and no domain is looked up;
source routes (RFC 5321 appendix C) are read and dropped; `<Postmaster>` without a domain is an address only where the
caller says whose postmaster that is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from gateway.mail import reply
from gateway.mail.reply import Reply
from suppression.address import domain_of
from suppression.frozen import quick_init

LOCAL_PART_OCTETS = 64  # RFC 5321 4.5.3.1.1
DOMAIN_OCTETS = 255  # RFC 5321 4.5.3.1.2
PATH_OCTETS = 256  # RFC 5321 4.5.3.1.3, with the angle brackets
ENVID_CHARACTERS = 100  # RFC 3461 4.4
ORCPT_CHARACTERS = 500  # RFC 3461 4.2


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Rcpt:
    """One envelope recipient.

    `address` as the client wrote it, without brackets. `notify`: empty when the client said nothing, else {"NEVER"} or
    a subset of {"SUCCESS", "FAILURE", "DELAY"} (RFC 3461 4.1). `orcpt`: "type;xtext" still encoded, as it is passed on
    (RFC 3461 4.2); None when not given.
    """

    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str | None = None


def in_ascii(address: str) -> str:
    """An address with its domain as A-labels (RFC 5891); as it is where that makes it no ASCII either."""
    local, at, domain = address.rpartition("@")
    if address.isascii() or not local.isascii():
        return address
    name = domain_of(domain)
    return address if name is None else f"{local}{at}{name}"


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message as it was handed in.

    `login`: the login's name (on the return-path listener ""); `suffix`: what stood behind the last `+` of the name
    that logged in, None without one. `mail_from`: "" is the null sender. `content`: the message with CRLF line ends,
    dots unstuffed, no bare CR, bare LF or NUL. `body_8bit`: BODY=8BITMIME was said (8-bit content may come without).
    `ret`: "FULL", "HDRS" or None; `envid`: xtext as given (RFC 3461 4.3, 4.4). `tls`: was the session encrypted.
    """

    login: str
    suffix: str | None
    mail_from: str
    rcpts: tuple[Rcpt, ...]
    content: bytes
    body_8bit: bool
    smtputf8: bool
    ret: str | None
    envid: str | None
    peer_ip: str
    helo: str
    tls: bool


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class MailFrom:
    """What a MAIL command said. `address` "" is the null sender; `size` octets as declared, None when not given."""

    address: str
    size: int | None = None
    body_8bit: bool = False
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
# The address nearly every command carries: an ASCII dot-string at a host name, in brackets.
_USUAL = re.compile(rf"<([{_ATEXT}]+(?:\.[{_ATEXT}]+)*)@({_LABEL}(?:\.{_LABEL})*)>(?: (.*))?", re.DOTALL)

_DOT_STRING = re.compile(rf"[{_ATEXT}\x80-\U0010ffff]+(?:\.[{_ATEXT}\x80-\U0010ffff]+)*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*"')
_ULABEL = r"[A-Za-z0-9\x80-\U0010ffff](?:[A-Za-z0-9\-\x80-\U0010ffff]*[A-Za-z0-9\x80-\U0010ffff])?"
_DOMAIN = re.compile(rf"{_ULABEL}(?:\.{_ULABEL})*")
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE)
_POSTMASTER = re.compile(r"\A<(postmaster)>", re.IGNORECASE)
_ROUTE = re.compile(rf"@{_DOMAIN.pattern}(?:,@{_DOMAIN.pattern})*:")

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")  # RFC 3461 4
_XTEXT_UTF8 = re.compile(r"(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2})+")  # utf-8-addr-unitext, RFC 6533 3
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9\-]+")
_HEX_PAIR = re.compile(r"\+([0-9A-F]{2})")
_DIGITS = re.compile(r"[0-9]{1,20}")  # RFC 1870 4
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


def read_mail(argument: bytes, *, extended: bool = True) -> MailFrom | Reply:
    """Read what follows `MAIL `: "FROM:<path> parameters". `extended` False after HELO: no parameters then.

    Source: RFC 5321 4.1.1.2; SIZE RFC 1870; BODY RFC 6152; SMTPUTF8 RFC 6531; RET, ENVID RFC 3461; AUTH RFC 4954 5.
    """
    text = _text(argument, "FROM:")
    if text is None:
        return reply.BAD_ARGUMENTS if _keyword(argument, b"FROM:") is None else reply.BAD_SENDER
    found = _path(text, null=True)
    if found is None:
        return reply.BAD_SENDER
    address, rest = found
    if not rest:
        return MailFrom(address=address) if address.isascii() else reply.NO_UTF8_HERE
    if not extended:
        return reply.UNKNOWN_PARAMETER
    given = _parameters(rest)
    if given is None:
        return reply.BAD_ARGUMENTS
    read = _mail_parameters(address, given)
    if isinstance(read, MailFrom) and not read.smtputf8 and not address.isascii():
        return reply.NO_UTF8_HERE
    return read


def read_rcpt(
    argument: bytes, *, smtputf8: bool, extended: bool = True, postmaster_at: str | None = None
) -> Rcpt | Reply:
    """Read what follows `RCPT `: "TO:<path> parameters". `smtputf8`: whether MAIL said SMTPUTF8. `postmaster_at`: the
    domain whose postmaster is meant where the path is `<Postmaster>` alone; None: that is no address here.

    Source: RFC 5321 4.1.1.3; NOTIFY, ORCPT RFC 3461 4.1, 4.2; internationalised ORCPT RFC 6533 3.
    """
    text = _text(argument, "TO:")
    if text is None:
        return reply.BAD_ARGUMENTS if _keyword(argument, b"TO:") is None else reply.BAD_RECIPIENT
    found = _path(text if postmaster_at is None else _POSTMASTER.sub(rf"<\1@{postmaster_at}>", text), null=False)
    if found is None:
        return reply.BAD_RECIPIENT
    address, rest = found
    if not smtputf8 and not address.isascii():
        return reply.NO_UTF8_HERE
    if not rest:
        return Rcpt(address=address)
    if not extended:
        return reply.UNKNOWN_PARAMETER
    given = _parameters(rest)
    if given is None:
        return reply.BAD_ARGUMENTS
    return _rcpt_parameters(address, given, smtputf8=smtputf8)


def unxtext(value: str) -> str:
    """Decode xtext (RFC 3461 4): "a+2Bb" -> "a+b". What is not valid xtext comes back as it is."""
    return _HEX_PAIR.sub(lambda pair: chr(int(pair[1], 16)), value)


def _keyword(argument: bytes, word: bytes) -> bytes | None:
    """What follows `FROM:` or `TO:`, None when it is not there. A blank before or behind the colon is put up with."""
    length = len(word)
    if argument[:length].upper() == word:
        return argument[length:]
    head, colon, rest = argument.partition(b":")
    return rest if colon and head.rstrip(b" ").upper() + b":" == word else None


def _text(argument: bytes, word: str) -> str | None:
    value = _keyword(argument, word.encode("ascii"))
    if value is None:
        return None
    try:
        return value.decode("utf-8").strip(" ")
    except UnicodeDecodeError:
        return None


def _path(text: str, *, null: bool) -> tuple[str, str] | None:
    """(address, rest of the line) or None when the path is not one. `null`: whether `<>` is allowed."""
    usual = _USUAL.fullmatch(text)
    if usual is not None:
        local, domain, rest = usual.groups()
        if len(local) > LOCAL_PART_OCTETS or len(domain) > DOMAIN_OCTETS or len(local) + len(domain) + 3 > PATH_OCTETS:
            return None
        return f"{local}@{domain}", rest.strip(" ") if rest else ""
    if text.startswith("<>") and text[2:3] in ("", " "):
        return ("", text[2:].strip(" ")) if null else None
    return _odd_path(text)


def _odd_path(text: str) -> tuple[str, str] | None:
    """Quoted local parts, literals, source routes, UTF-8, and the path without brackets that some clients send."""
    bracketed = text.startswith("<")
    at = 1 if bracketed else 0
    if bracketed and (route := _ROUTE.match(text, at)):
        at = route.end()
    local = _QUOTED.match(text, at) or _DOT_STRING.match(text, at)
    if local is None or text[local.end() : local.end() + 1] != "@":
        return None
    domain = _LITERAL.match(text, local.end() + 1) or _DOMAIN.match(text, local.end() + 1)
    if domain is None:
        return None
    end = domain.end()
    if bracketed:
        if text[end : end + 1] != ">":
            return None
        end += 1
    rest = text[end:]
    if rest and not rest.startswith(" "):
        return None
    if not _fits(local[0], domain[0]):
        return None
    return f"{local[0]}@{domain[0]}", rest.strip(" ")


def _fits(local: str, domain: str) -> bool:
    """Lengths in octets (RFC 5321 4.5.3.1; UTF-8 for internationalised ones), label lengths, a literal that is one."""
    local_octets, domain_octets = len(local.encode()), len(domain.encode())
    if local_octets > LOCAL_PART_OCTETS or domain_octets > DOMAIN_OCTETS:
        return False
    if local_octets + domain_octets + 3 > PATH_OCTETS:
        return False
    if not (local.isascii() or local.isprintable()) or not domain.isprintable():
        return False  # invisible and direction-changing characters have no place in an address
    if domain.startswith("["):
        return _is_literal(domain)
    return all(len(label) <= 63 for label in domain.split(".") if label.isascii())


def _is_literal(domain: str) -> bool:
    literal = _LITERAL.fullmatch(domain)
    if literal is None:
        return False
    try:
        IPv6Address(literal[2]) if literal[1] else IPv4Address(literal[2])
    except AddressValueError:
        return False
    return True


def _parameters(rest: str) -> dict[str, str | None] | None:
    """Keyword (upper case) -> value, None for a keyword without `=`. None when one is malformed or given twice."""
    given: dict[str, str | None] = {}
    for word in rest.split(" "):
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        if not keyword.replace("-", "").isalnum() or not keyword.isascii() or keyword.startswith("-"):
            return None
        if keyword in given or (equals and not value):
            return None
        given[keyword] = value if equals else None
    return given


def _mail_parameters(address: str, given: dict[str, str | None]) -> MailFrom | Reply:
    size, body_8bit, smtputf8, ret, envid = None, False, False, None, None
    for keyword, value in given.items():
        match keyword:
            case "SIZE" if value is not None and _DIGITS.fullmatch(value):
                size = int(value)
            case "BODY" if value is not None and value.upper() in ("7BIT", "8BITMIME"):
                body_8bit = value.upper() == "8BITMIME"
            case "SMTPUTF8" if value is None:
                smtputf8 = True
            case "RET" if value is not None and value.upper() in ("FULL", "HDRS"):
                ret = value.upper()
            case "ENVID" if value is not None and len(value) <= ENVID_CHARACTERS and _is_printable_xtext(value):
                envid = value
            case "AUTH" if value is not None and (value == "<>" or _XTEXT.fullmatch(value)):
                pass  # RFC 4954 5: accepted from anybody, believed from nobody
            case "SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH":
                return reply.BAD_ARGUMENTS
            case _:
                return reply.UNKNOWN_PARAMETER
    return MailFrom(address=address, size=size, body_8bit=body_8bit, smtputf8=smtputf8, ret=ret, envid=envid)


def _rcpt_parameters(address: str, given: dict[str, str | None], *, smtputf8: bool) -> Rcpt | Reply:
    notify: frozenset[str] = frozenset()
    orcpt = None
    for keyword, value in given.items():
        match keyword:
            case "NOTIFY" if value is not None:
                notify = frozenset(value.upper().split(","))
                if notify != {"NEVER"} and not notify <= _NOTIFY:
                    return reply.BAD_ARGUMENTS
            case "ORCPT" if value is not None and _is_orcpt(value, smtputf8=smtputf8):
                orcpt = value
            case "NOTIFY" | "ORCPT":
                return reply.BAD_ARGUMENTS
            case _:
                return reply.UNKNOWN_PARAMETER
    return Rcpt(address=address, notify=notify, orcpt=orcpt)


def _is_printable_xtext(value: str) -> bool:
    """RFC 3461 4.4: decodes to printable US-ASCII only."""
    return _XTEXT.fullmatch(value) is not None and all(" " <= character <= "~" for character in unxtext(value))


def _is_orcpt(value: str, *, smtputf8: bool) -> bool:
    kind, semicolon, xtext = value.partition(";")
    if not semicolon or len(value) > ORCPT_CHARACTERS or not _ADDRESS_TYPE.fullmatch(kind):
        return False
    if smtputf8 and kind.lower() == "utf-8":
        return _XTEXT_UTF8.fullmatch(xtext) is not None
    return _is_printable_xtext(xtext)
