"""Kinds of setting values: what a value in the file must look like, and what it becomes.

A kind's `parse` takes the TOML value and the folder of the file, and returns the value or raises Bad with a remedy.
"""

import ipaddress
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import idna

from gateway.config import Address


class Bad(Exception):
    """A value that cannot be used. `below` names the part of a small table that is at fault."""

    def __init__(self, what: str, remedy: str, below: str = "") -> None:
        super().__init__(what)
        self.what, self.remedy, self.below = what, remedy, below


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is for documents; `empty` stands for an absent value; a secret may also come from a file or variable."""

    name: str
    parse: Callable[[Any, Path], Any]
    empty: Any = None
    secret: bool = False


def _text(value: Any, _dir: Path) -> str:
    if not isinstance(value, str):
        raise Bad("must be text", "Put it in quotes")
    return value.strip()


def _flag(value: Any, _dir: Path) -> bool:
    if not isinstance(value, bool):
        raise Bad("must be true or false", "Write true or false, without quotes")
    return value


def _count(value: Any, _dir: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Bad("must be a whole number of 1 or more", "Write digits without quotes")
    return value


def _rate(value: Any, _dir: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise Bad("must be a number above 0", "Write digits without quotes")
    return float(value)


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _duration(value: Any, _dir: Path) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})\s*([smhdw])", value.strip()) if isinstance(value, str) else None
    if not found or int(found.group(1)) == 0:
        raise Bad("must be a length of time", 'Write a number and s, m, h, d or w, as "2d" or "12h"')
    return timedelta(seconds=int(found.group(1)) * _UNITS[found.group(2)])


def _day(value: Any, _dir: Path) -> datetime:
    """A day as the instant at which it begins in UTC; TOML has a form of its own for days."""
    try:
        day = date.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(day, datetime) or not isinstance(day, date):
            raise TypeError
    except (TypeError, ValueError):
        raise Bad("must be a day", "Write it as 2026-12-15") from None
    return datetime.combine(day, time(), UTC)


def _instant(value: Any, _dir: Path) -> datetime:
    """An instant with its zone; TOML has a form of its own for it."""
    try:
        at = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        at = None
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise Bad("must be an instant with a zone", "Write it as 2026-12-15T10:00:00Z")
    return at.astimezone(UTC)


def _seconds(value: Any, directory: Path) -> float:
    if isinstance(value, str):
        return _duration(value, directory).total_seconds()
    return _rate(value, directory)


_SIZES: Final = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}


def _size(value: Any, _dir: Path) -> int:
    found = re.fullmatch(r"(\d{1,15})\s*([a-z]*)", value.strip().lower()) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if not found or found.group(2) not in _SIZES or int(found.group(1)) == 0:
        raise Bad("must be a size", 'Write a number of bytes, or as "25 MiB", "500 MB"')
    return int(found.group(1)) * _SIZES[found.group(2)]


def domain(text: str) -> str:
    """Return a domain name as lower-case A-labels (RFC 5890); Bad when it is none."""
    name = text.strip().rstrip(".").lower()
    try:
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise Bad(f"{text!r} is not a domain name", "Write it as in an address, after the @") from None
    labels = name.split(".")
    if len(name) > 253 or not all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", label) for label in labels):
        raise Bad(f"{text!r} is not a domain name", "Write it as in an address, after the @")
    return name


def _domain(value: Any, directory: Path) -> str:
    return domain(_text(value, directory))


def _list(one: Callable[[Any, Path], Any], what: str) -> Callable[[Any, Path], tuple[Any, ...]]:
    def parse(value: Any, directory: Path) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Bad(f"must be a list of {what}", "Put it in square brackets")
        items = tuple(one(item, directory) for item in value)
        for item in items:
            if items.count(item) > 1:
                raise Bad(f"names {value[items.index(item)]!r} twice", "Remove one of them")
        return items

    return parse


def _name(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", text):
        raise Bad(f"{text!r} cannot be a name", "Use lower-case letters, digits, underscore and hyphen, at most 64")
    return text


def _host_port(value: Any, directory: Path) -> Address:
    text = _text(value, directory)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"\d{1,5}", port) or not 0 <= int(port) <= 65535:
        raise Bad(f"{text!r} is not HOST:PORT", 'Write it as "127.0.0.1:2525" or "[::1]:2525"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if ":" in host or re.fullmatch(r"[\d.]+", host):
            raise Bad(f"{host!r} is not an address", 'Write it as "127.0.0.1:2525" or "[::1]:2525"') from None
        host = domain(host)
    return host, int(port)


def _remote(value: Any, directory: Path) -> Address:
    host, port = _host_port(value, directory)
    if port == 0:
        raise Bad("has port 0", "Write the port the smarthost listens on, usually 587 or 25")
    return host, port


def _rates(value: Any, directory: Path) -> dict[str, float]:
    if not isinstance(value, dict):
        raise Bad("must give a rate per domain", 'Write it as { "example.com" = 5, "*" = 20 }')
    found: dict[str, float] = {}
    for name, rate in value.items():
        key = name if name == "*" else domain(name)
        try:
            found[key] = _rate(rate, directory)
        except Bad as bad:
            raise Bad(f"{name!r} {bad.what}", bad.remedy) from None
    return found


def _network(value: Any, directory: Path) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    text = _text(value, directory)
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Bad(f"{text!r} is not an address or network", 'Write it as "192.0.2.7" or "192.0.2.0/24"') from None


def _ip_address(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise Bad(f"{text!r} is not an address", 'Write it as "192.0.2.7" or "2001:db8::7"') from None
    if found.is_unspecified or found.is_multicast:
        raise Bad(f"{text!r} is no address of a machine", "Name one of this machine's own")
    return str(found)


def _url(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[\s<>\"]", text):
        raise Bad(f"{text!r} is not a web address", 'Write it as "https://mail.example.com"')
    return text.rstrip("/")


def _contact(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    if not text:
        return ""
    if text.startswith(("https://", "http://")):
        return _url(text, directory)
    local, at, host = text.rpartition("@")
    if not at or not local or re.search(r"[\s<>]", text):
        raise Bad("is neither an e-mail address nor a web address", "Write one that reaches a person")
    return f"{local}@{domain(host)}"


def _country(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    if text == "UK":
        raise Bad("'UK' is not an ISO 3166 code", 'Write "GB"')
    if not re.fullmatch(r"[A-Z]{2}", text):
        raise Bad(f"{text!r} is not a country code", 'Write two capitals, as "NL"')
    return text


def _timezone(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Bad(f"{text!r} is not a time zone", 'Write it as "Europe/Amsterdam"') from None
    return text


def _colour(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise Bad(f"{text!r} is not a colour", 'Write it as "#14532d"')
    return text.lower()


def _selector(value: Any, directory: Path) -> str:
    text = _text(value, directory).lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", text):
        raise Bad(f"{text!r} is not a DKIM selector", "Use letters, digits, dot and hyphen")
    return text


def _password_hash(value: Any, directory: Path) -> str:
    text = _text(value, directory)
    if not re.fullmatch(r"\$argon2(id|i|d)\$v=\d+\$[^$]+\$[^$]+\$[^$]+", text):
        raise Bad("is not an argon2 hash", "Make one with: consentgate user hash")
    return text


def is_address(host: str) -> bool:
    """Whether a host is written as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host of a URL or listener is this machine itself. Asks no DNS: only addresses and `localhost` count."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def _titles(value: Any, directory: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise Bad("must give a text per language", 'Write it as { nl = "de nieuwsbrief", en = "the newsletter" }')
    for language in value:
        if language not in ("nl", "en", "fr", "de"):
            raise Bad(f"there is no language {language!r}", "Use nl, en, fr or de", language)
    return {language: _required_text(text, directory, language) for language, text in value.items()}


def _required_text(value: Any, directory: Path, below: str) -> str:
    try:
        text = _text(value, directory)
    except Bad as bad:
        raise Bad(bad.what, bad.remedy, below) from None
    if not text:
        raise Bad("is empty", "Write a sentence", below)
    return text


def _mailbox(value: Any, directory: Path) -> str:
    text = _contact(value, directory)
    if "@" not in text or "://" in text:
        raise Bad(f"{text!r} is not an e-mail address", "Write it as name@example.com")
    return text


def choice(*values: str) -> Kind:
    """One of some words."""

    def parse(value: Any, directory: Path) -> str:
        text = _text(value, directory)
        if text not in values:
            raise Bad(f"{text!r} is not possible here", "Use " + " or ".join(values))
        return text

    return Kind(" | ".join(values), parse)


def motivations(*facts: str) -> Kind:
    """A small table from the name of a declared fact to the reason why it is true."""

    def parse(value: Any, directory: Path) -> dict[str, str]:
        if not isinstance(value, dict):
            raise Bad("must give a text per fact", f'Write motivation.{facts[0]} = "..."')
        for fact in value:
            if fact not in facts:
                raise Bad(f"there is no fact {fact!r}", f"Known: {', '.join(facts)}", fact)
        return {fact: _required_text(text, directory, fact) for fact, text in value.items()}

    return Kind("text per fact", parse, {})


TEXT: Final = Kind("text", _text)
SECRET: Final = Kind("text", _text, None, True)
FLAG: Final = Kind("true or false", _flag)
COUNT: Final = Kind("whole number", _count)
RATE: Final = Kind("number", _rate)
SECONDS: Final = Kind("seconds", _seconds)
INSTANT: Final = Kind("instant", _instant)
DAY: Final = Kind("day", _day)
DURATION: Final = Kind("length of time", _duration)
SIZE: Final = Kind("size", _size)
NAME: Final = Kind("name", _name)
NAMES: Final = Kind("list of names", _list(_name, "names"), ())
DOMAIN: Final = Kind("domain", _domain)
DOMAINS: Final = Kind("list of domains", _list(_domain, "domains"), ())
ADDRESS: Final = Kind("HOST:PORT", _host_port)
ADDRESSES: Final = Kind("list of HOST:PORT", _list(_host_port, "HOST:PORT"), ())
REMOTE: Final = Kind("HOST:PORT", _remote)
DOMAIN_RATES: Final = Kind("number per domain", _rates, {})
NETWORKS: Final = Kind("list of networks", _list(_network, "networks"), ())
IP_ADDRESSES: Final = Kind("list of addresses", _list(_ip_address, "addresses"), ())
URL: Final = Kind("web address", _url)
CONTACT: Final = Kind("e-mail or web address", _contact)
MAILBOX: Final = Kind("e-mail address", _mailbox)
TEXT_LIST: Final = Kind("list of texts", _list(_text, "texts"), ())
MAILBOXES: Final = Kind("list of e-mail addresses", _list(_mailbox, "e-mail addresses"), ())
COUNTRY: Final = Kind("country code", _country)
TIMEZONE: Final = Kind("time zone", _timezone)
COLOUR: Final = Kind("colour", _colour)
SELECTOR: Final = Kind("DKIM selector", _selector)
PASSWORD_HASH: Final = Kind("argon2 hash", _password_hash, None, True)
TITLES: Final = Kind("text per language", _titles, {})
TEXTS: Final = Kind("text per language", lambda value, folder: {} if value == {} else _titles(value, folder), {})
"""As TITLES, and may be absent."""
