"""The configuration as values, and how one is loaded: every problem is found before the start, none is guessed away.

`load` reads one TOML file against the table in settings.py, then checks what settings must agree on among themselves.
It never writes and asks no DNS; failures are one ConfigError that lists all problems with file, line, key and remedy.
"""

import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from gateway.config_checks import check
from gateway.config_packs import ALL, check_terms, packs_of, terms_of
from gateway.mail.categories import CategoryMap, category_map
from gateway.setting_kinds import Address, is_address, is_loopback
from gateway.settings_reader import Problem, Reader
from suppression import similarity
from suppression.jurisdiction import PackBook
from suppression.terms import AS_IT_IS, Terms, applied

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MessageClass = Literal["marketing", "mixed", "consent_request", "transactional", "mandatory_notice", "doi_confirmation"]
Mode = Literal["enforce", "rehearse", "observe"]
MARKETING = frozenset({"marketing", "mixed", "consent_request"})
OBSERVED_AT_MOST = timedelta(days=30)
"""How far off the end of observing may be (DESIGN section 7)."""
_TO_FILL_IN = ("legal_name", "postal_address", "opt_out_contact")


class ConfigError(Exception):
    """A configuration that must not be started with; the text is one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    submission: tuple[Address, ...]
    submissions: tuple[Address, ...]
    web: Address
    return_path: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    message_bytes: int
    recipients: int
    connections: int
    connections_per_ip: int
    idle_seconds: float
    data_seconds: float
    concurrent_data: int
    queue_copies: int
    free_disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    format: Literal["text", "json"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Who gets the signed heads of the ledger, and by which controller's stream; nobody where `heads_to` is empty."""

    heads_to: tuple[str, ...]
    heads_controller: str
    heads_stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How copies leave. `hosts` are tried in order; `rate_per_second` None means no limit."""

    name: str
    kind: Literal["capture", "smarthost"]
    hosts: tuple[Address, ...]
    tls: Literal["none", "opportunistic", "require", "verify"]
    username: str | None
    password: str | None
    connections: int
    rate_per_second: float | None

    def __repr__(self) -> str:
        return f"Route(name={self.name!r}, kind={self.kind!r}, hosts={self.hosts!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """`title` is the wording per language; at least one language."""

    name: str
    title: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    name: str
    parent: str | None
    similar_to: tuple[str, ...]
    motivation: str
    links: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertiser:
    """Whose offers a stream carries, where they are not the controller's own."""

    id: str
    legal_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    domain: str
    selector: str
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of mail of one controller. Facts that were not declared have the value that blocks (RULES.md 2.1.3)."""

    controller: str
    name: str
    message_class: MessageClass
    purpose: str | None
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    advertiser: Advertiser | None
    from_domains: tuple[str, ...]
    route: str
    mode: Mode
    observe_until: datetime | None
    on_block: Literal["record", "reject"]
    footer: Literal["auto", "always", "never"]
    transaction_ref: Literal["stream", "header"] | None
    ad_identifiable: bool
    directed_at_children: bool
    b2b_relevant: bool
    uses_special_category: bool
    charitable_only: bool
    motivation: Mapping[str, str]
    language: str
    retry_for: timedelta
    list_id: str

    def mode_at(self, now: datetime) -> Mode:
        """What decisions do at an instant: observing ends by itself, and none that was to go on too long begins."""
        if self.mode != "observe":
            return self.mode
        observes = self.observe_until is not None and now < self.observe_until <= now + OBSERVED_AT_MOST
        return "observe" if observes else "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """An SMTP login. `streams[0]` is used when the message names none; without a hash only `allowed_ips` get in."""

    name: str
    controller: str
    password_hash: str | None
    streams: tuple[str, ...]
    allowed_ips: tuple[Network, ...]

    def __repr__(self) -> str:
        return f"Login(name={self.name!r}, controller={self.controller!r}, streams={self.streams!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A sign-up form. `sender`: address of the mail that asks to confirm. Texts per language; empty: our own words."""

    controller: str
    name: str
    purposes: tuple[str, ...]
    stream: str
    sender: str
    title: Mapping[str, str]
    intro: Mapping[str, str]
    frequency: Mapping[str, str]
    double_opt_in: bool
    ask_birth_date: bool
    keep_origin: bool
    hourly: int
    hourly_per_network: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """The legal entity that sends (GDPR art. 4(7)). Absent identity texts are empty, which blocks (E1, E3, E4).

    `terms`: what it changed about the packs, by code or ALL. `category_map`: None where no category has patterns.
    """

    id: str
    legal_name: str
    display_name: str
    postal_address: str
    opt_out_contact: str
    notice_url: str | None
    notice_version: str
    country: str
    default_country: str | None
    default_country_motivation: str
    is_charity: bool
    require_opt_in: bool
    language: str
    timezone: str
    domains: tuple[str, ...]
    return_domain: str | None
    accent: str
    purposes: Mapping[str, Purpose]
    categories: Mapping[str, Category]
    streams: Mapping[str, Stream]
    forms: Mapping[str, Form]
    dkim: tuple[DkimKey, ...]
    neutral_links: tuple[str, ...]
    unmapped_links: Literal["ignore", "unknown"]
    category_map: CategoryMap | None
    terms: Mapping[str, Terms]

    @property
    def category_tree(self) -> tuple[similarity.Category, ...]:
        """The categories as the law reads them."""
        return tuple(
            similarity.Category(name=c.name, parent=c.parent, similar_to=c.similar_to) for c in self.categories.values()
        )

    def held_to(self, book: PackBook) -> PackBook:
        """The packs as this controller is held to them, stricter or with a motivation laxer than they are."""
        common = self.terms.get(ALL, AS_IT_IS)
        return book.each(lambda pack: applied(pack, self.terms.get(pack.code, AS_IT_IS), common))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one installation. `dir` is the folder of the file; every Path in here is already joined to it.

    `digest`: SHA-256 of the file's text and of the packs beside it, in hex: what was in force, for the ledger.
    """

    path: Path
    dir: Path
    digest: str
    public_url: str
    hostname: str
    database_url: str
    installation_key: Path
    keys_database: Path
    listen: Listen
    tls: Tls | None
    trusted_proxies: tuple[Network, ...]
    limits: Limits
    log: Log
    ledger: Ledger
    routes: Mapping[str, Route]
    controllers: Mapping[str, Controller]
    logins: Mapping[str, Login]
    packs: PackBook

    @property
    def database_path(self) -> Path:
        """File of the SQLite database named by `database_url`."""
        return Path(self.database_url.removeprefix("sqlite:"))


def load(path: Path, *, environ: Mapping[str, str] = os.environ, changes: Mapping[str, Any] = {}) -> Config:
    """Read and check one configuration file. `changes`: values in place of the file's, by dotted path.

    Raises ConfigError with all problems: an unreadable file, bad TOML, unknown names, bad values, missing files or
    motivations, references to what is not declared.
    """
    path = path.absolute()
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError([_problem(path, "the file does not exist", "Make one with: consentgate init")]) from None
    except OSError as error:
        raise ConfigError([_problem(path, f"cannot be read: {error.strerror}", "Check its path and mode")]) from None
    except UnicodeDecodeError:
        raise ConfigError([_problem(path, "is not UTF-8 text", "Save it as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        line = int(at.group(1)) if at else None
        raise ConfigError([_problem(path, f"is not TOML: {error}", "Correct the line", line)]) from None
    for key, value in changes.items():
        _put(document, key, value)
    reader = Reader(path, text, environ)
    values = reader.read(document)
    check(reader, values)
    book = packs_of(reader, values)
    check_terms(reader, values, book)
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda problem: problem.line or 0))
    return _build(path, values, book, _digest(text, values["packs"]))


def _put(document: dict[str, Any], key: str, value: object) -> None:
    """Set one value of a TOML document. Where the path leads through a value, that is for the reader to refuse."""
    *way, last = key.split(".")
    at = document
    for name in way:
        below = at.setdefault(name, {})
        if not isinstance(below, dict):
            below = at[name] = {}
        at = below
    at[last] = value


def _digest(text: str, packs: Path | None) -> str:
    """What was in force: the settings, and the installation's own packs where there are any."""
    found = hashlib.sha256(text.encode())
    for file in sorted(packs.glob("*.toml")) if packs is not None else ():
        found.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def _problem(path: Path, what: str, remedy: str, line: int | None = None) -> Problem:
    return Problem(file=str(path), key="", line=line, what=what, remedy=remedy)


def _build(path: Path, v: Mapping[str, Any], book: PackBook, digest: str) -> Config:
    """Make the values; everything has been checked, so nothing here can fail."""
    host = urlsplit(v["public_url"]).hostname or ""
    return Config(
        path=path,
        dir=path.parent,
        digest=digest,
        public_url=v["public_url"],
        hostname=v["hostname"] or ("localhost" if is_address(host) else host),
        database_url=v["database"]["url"],
        installation_key=v["keys"]["installation"],
        keys_database=v["keys"]["database"],
        listen=Listen(**v["listen"]),
        tls=Tls(**v["tls"]) if v["tls"]["certificate"] else None,
        trusted_proxies=v["trusted_proxies"],
        limits=Limits(**v["limits"]),
        log=Log(**v["log"]),
        ledger=Ledger(
            heads_to=v["ledger"]["heads_to"],
            heads_stream=v["ledger"]["heads_stream"] or "",
            heads_controller=v["ledger"]["heads_controller"] or next(iter(v["controllers"])),
        ),
        routes={name: Route(name=name, **r) for name, r in v["routes"].items()},
        controllers={name: _controller(name, c) for name, c in v["controllers"].items()},
        logins={
            name: Login(name=name, controller=controller, **login)
            for controller, c in v["controllers"].items()
            for name, login in c["logins"].items()
        },
        packs=book,
    )


def _controller(name: str, c: Mapping[str, Any]) -> Controller:
    parts = ("purposes", "categories", "streams", "forms", "dkim", "logins", "display_name", "packs")
    return Controller(
        id=name,
        display_name=c["display_name"] or c["legal_name"],
        purposes={n: Purpose(name=n, **p) for n, p in c["purposes"].items()},
        categories={n: Category(name=n, **k) for n, k in c["categories"].items()},
        streams={n: _stream(name, n, s, c["language"]) for n, s in c["streams"].items()},
        forms={n: _form(name, n, f, c) for n, f in c["forms"].items()},
        dkim=tuple(DkimKey(**k) for k in c["dkim"]),
        terms=terms_of(c),
        category_map=category_map(
            {n: k["links"] for n, k in c["categories"].items()},
            {n: k["subjects"] for n, k in c["categories"].items()},
            c["neutral_links"],
            unmapped_unknown=c["unmapped_links"] == "unknown",
        ),
        **{k: value for k, value in c.items() if k not in parts},
    )


def _form(controller: str, name: str, f: Mapping[str, Any], c: Mapping[str, Any]) -> Form:
    """A form asks for the date of birth where mail of its purposes is, or may be, aimed at children (GDPR art. 8)."""
    at_children = any(
        s["directed_at_children"] is not False
        for s in c["streams"].values()
        if s["class"] in MARKETING and set(f["purposes"]) & {s["purpose"], *s["purposes"]}
    )
    asks = f["ask_birth_date"] if f["ask_birth_date"] is not None else at_children
    values = {k: value for k, value in f.items() if k != "from"}
    return Form(controller=controller, name=name, **(values | {"sender": f["from"], "ask_birth_date": asks}))


def _stream(controller: str, name: str, s: Mapping[str, Any], language: str) -> Stream:
    marketing = s["class"] in MARKETING
    computed = {
        "message_class": s["class"],
        "on_block": s["on_block"] or ("record" if marketing else "reject"),
        "ad_identifiable": s["ad_identifiable"] is True,
        "directed_at_children": s["directed_at_children"] is not False,
        "b2b_relevant": s["b2b_relevant"] is True,
        "charitable_only": s["charitable_only"] is True,
        "language": s["language"] or language,
        "retry_for": s["retry_for"] or timedelta(days=2 if marketing else 5),
        "list_id": s["list_id"] or f"{name}.{s['from_domains'][0]}",
        "advertiser": Advertiser(**s["advertiser"]) if s["advertiser"]["id"] else None,
    }
    return Stream(controller=controller, name=name, **({k: x for k, x in s.items() if k != "class"} | computed))


def serve_problems(config: Config, now: datetime) -> tuple[Problem, ...]:
    """What may be loaded, but not served: values nobody filled in, plain-http links that would reach people, and
    observing that would go on for too long."""
    return (*_not_filled_in(config), *_links_in_clear(config), *_observing_too_long(config, now))


def serve_warnings(config: Config, now: datetime) -> tuple[Problem, ...]:
    """What may be served, and should be known: streams that let mail without a ground pass, or from which none goes."""
    return tuple(
        Problem(
            file=str(config.path), key=f"controllers.{controller.id}.streams.{stream.name}.mode", line=None,
            what=warning[0], remedy=warning[1],
        )
        for controller in config.controllers.values()
        for stream in controller.streams.values()
        if (warning := _mode_warning(stream, now)) is not None
    )  # fmt: skip


def _mode_warning(stream: Stream, now: datetime) -> tuple[str, str] | None:
    if stream.mode == "rehearse":
        return "is rehearse: no mail of this stream leaves", 'Release campaigns by hand, or set it to "enforce"'
    if stream.mode != "observe" or stream.observe_until is None:
        return None
    end = f"{stream.observe_until:%Y-%m-%d}"
    if stream.mode_at(now) == "observe":
        what = f"is observe until {end}: mail without a legal ground leaves and is only reported"
        return what, 'Mend what `report observed` lists, then set it to "enforce"'
    return f"was observe until {end}: it enforces now", 'Set it to "enforce"'


def _observing_too_long(config: Config, now: datetime) -> Iterable[Problem]:
    for controller in config.controllers.values():
        for stream in controller.streams.values():
            if stream.mode == "observe" and stream.observe_until and stream.observe_until > now + OBSERVED_AT_MOST:
                key = f"controllers.{controller.id}.streams.{stream.name}.observe_until"
                what = f"is more than {OBSERVED_AT_MOST.days} days off"
                remedy = f"Name a day not after {now + OBSERVED_AT_MOST:%Y-%m-%d}"
                yield Problem(file=str(config.path), key=key, line=None, what=what, remedy=remedy)


def _not_filled_in(config: Config) -> Iterable[Problem]:
    """What `init` left to fill in; no mail may go out in the name of "CHANGE: legal name"."""
    for controller in config.controllers.values():
        place = f"controllers.{controller.id}"
        values = [(f"{place}.{name}", getattr(controller, name)) for name in _TO_FILL_IN]
        values += [(f"{place}.domains", domain) for domain in controller.domains]
        values += [
            (f"{place}.streams.{stream.name}.motivation.{fact}", motivation)
            for stream in controller.streams.values()
            for fact, motivation in stream.motivation.items()
        ]
        for key, value in values:
            if value.startswith("CHANGE") or value == "change.example":
                what = f"is still {value!r}, as init wrote it"
                yield Problem(file=str(config.path), key=key, line=None, what=what, remedy="Fill it in")


def _links_in_clear(config: Config) -> tuple[Problem, ...]:
    """Plain-http links must not reach people (RFC 8058 wants https)."""
    if config.public_url.startswith("https:"):
        return ()
    return tuple(
        Problem(
            file=str(config.path),
            key=f"routes.{route.name}.hosts",
            line=None,
            what=f"{host} is off this machine, but public_url is plain http, so links in the mail would be too",
            remedy="Give public_url an https address, or use a smarthost on loopback",
        )
        for route in config.routes.values()
        for host, _ in route.hosts
        if not is_loopback(host)
    )
