"""The configuration of an installation, as values. The room `settings` makes them from a file that has been checked."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from gateway.mail.categories import CategoryMap
from gateway.mail.judgement import BounceRules
from gateway.mail.promotional import PromotionalRules
from gateway.mail.provider import Signing
from gateway.tools.reach import Peer
from suppression import similarity
from suppression.facts import MARKETING as MARKETING
from suppression.facts import StreamClass as MessageClass
from suppression.jurisdiction import PackBook
from suppression.terms import ALL, AS_IT_IS, Terms, applied

Address = tuple[str, int]
"""Host and port."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Mode = Literal["enforce", "rehearse", "observe"]
OBSERVED_AT_MOST = timedelta(days=30)
"""How far off the end of observing may be (DESIGN section 7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a database is: `sqlite:FILE`, or the URL of a PostgreSQL server, which may hold a password.

    `name` says the same without user and password: what is shown is this.
    """

    url: str = field(repr=False)
    name: str

    @classmethod
    def of_file(cls, file: Path) -> "Database":
        """A database in a file of its own (SQLite)."""
        return cls(url=f"sqlite:{file}", name=str(file))

    @property
    def file(self) -> Path | None:
        """The file it is in; None where it is on a server."""
        return Path(self.url.removeprefix("sqlite:")) if self.url.startswith("sqlite:") else None

    @property
    def takes_password(self) -> bool:
        """Whether it is a server whose user is named and whose password is not."""
        login, at, _ = self.url.partition("://")[2].partition("@")
        return self.file is None and bool(at and login) and ":" not in login

    def with_password(self, password: str) -> "Database":
        """The same server, and the password to log in with, where the URL holds none."""
        scheme, _, rest = self.url.partition("://")
        login, at, place = rest.partition("@")
        return replace(self, url=f"{scheme}://{login}:{quote(password, safe='')}{at}{place}")


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
    reports_per_minute: int
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
class Seed:
    """A mailbox of our own that `doctor --loop` writes to and reads. `imap` None: nobody reads it."""

    address: str
    imap: Address | None
    tls: Literal["verify", "none"]
    username: str
    password: str
    folders: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Seed(imap={self.imap!r}, tls={self.tls!r}, folders={self.folders!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Smarthost:
    """One server of a smarthost route. The lowest `priority` is asked first; among equals `weight` is the share of
    connections. `username` None: no login. `token_file`: in the place of the password, an OAuth 2 access token."""

    host: str
    port: int
    priority: int = 1
    weight: int = 1
    username: str | None = None
    password: str | None = None
    token_file: Path | None = None

    def __repr__(self) -> str:
        return f"Smarthost({self.host!r}, {self.port}, priority={self.priority}, weight={self.weight})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How copies leave. `rate_per_second` None means no limit. `dkim`: who signs.

    On an `mx` route: `port` of all mail servers, `domain_connections` to one of them at most, `inside`: networks not
    out on the internet in which they may be, `mta_sts`: whether policies of domains are heeded.

    `domain_rates`: copies per second by recipient domain (A-labels), "*" for each domain that is not named.
    `provider`: who gets the header fields meant for it (mail/control_fields.py); None: nobody.
    """

    name: str
    kind: Literal["capture", "smarthost", "mx"]
    hosts: tuple[Smarthost, ...]
    tls: Literal["none", "opportunistic", "require", "verify"]
    connections: int
    rate_per_second: float | None
    domain_rates: Mapping[str, float] = field(default_factory=dict)
    dkim: Signing = "own"
    provider: str | None = None
    return_path: Literal["auto", "always", "never"] = "auto"
    port: int = 25
    domain_connections: int = 20
    inside: tuple[Network, ...] = ()
    mta_sts: bool = True

    @property
    def keeps_return_path(self) -> bool:
        """Whether reports on what leaves here come back to the MAIL FROM that we give."""
        if self.return_path != "auto":
            return self.return_path == "always"
        return self.provider is None  # each of them puts in its own, or takes only one it knows (SES)

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
    """A signing key. `waiting`: made, and not used before DNS has it. `retired`: signs no more; its record stays
    published until the mail that bears it has arrived. `retired_at`: since when."""

    domain: str
    selector: str
    key: Path
    state: Literal["signing", "waiting", "retired"] = "signing"
    retired_at: datetime | None = None

    @property
    def name(self) -> str:
        """Where DNS has its record (RFC 6376 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of mail of one controller. Facts that were not declared have the value that blocks (RULES.md 2.1.3).

    `provider`: that of its route.
    """

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
    bounces: Literal["both", "consume", "forward"]
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
    dkim: Signing | None = None
    """Who signs; None: as its route says."""
    provider: str | None = None
    write_back_hosts: tuple[Peer, ...] = ()
    mislabelled: Literal["block", "hold", "allow-and-flag"] = "block"

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
class Webhook:
    """An endpoint that is told of what people said. `secrets`: the newest first. `streams` empty: about everybody.

    `advertiser`: it is this other company's, which is told no more than it needs (RULES.md 5.2.10). `company`: whose
    system it is, in words; "" not said.
    """

    name: str
    url: str
    secrets: tuple[bytes, ...] = field(repr=False)
    streams: tuple[str, ...]
    advertiser: str | None
    company: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A newsletter tool that is told through its own API. `lists`: ids there, by purpose; ("*",): the whole tool.

    `company`: who runs it, in words; "" not said.
    """

    name: str
    kind: Literal["listmonk", "mautic", "mailchimp"]
    url: str
    username: str | None
    password: str = field(repr=False)
    lists: Mapping[str, tuple[str, ...]]
    on_erasure: Literal["stop", "delete"]
    company: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """The legal entity that sends (GDPR art. 4(7)). Absent identity texts are empty, which blocks (E1, E3, E4).

    `terms`: what it changed about the packs, by code or ALL. `category_map`: None where no category has patterns.
    `promotional`: what advertising sounds like, the same for all controllers of an installation. `helo`,
    `source_addresses`: our name and addresses where its mail leaves by an `mx` route; None, empty: the machine's.
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
    heard_at: tuple[str, ...]
    accent: str
    purposes: Mapping[str, Purpose]
    categories: Mapping[str, Category]
    streams: Mapping[str, Stream]
    forms: Mapping[str, Form]
    dkim: tuple[DkimKey, ...]
    neutral_links: tuple[str, ...]
    unmapped_links: Literal["ignore", "unknown"]
    category_map: CategoryMap | None
    promotional: PromotionalRules
    terms: Mapping[str, Terms]
    write_back_hosts: tuple[Peer, ...] = ()
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    helo: str | None = None
    source_addresses: tuple[str, ...] = ()

    @property
    def category_tree(self) -> tuple[similarity.Category, ...]:
        """The categories as the law reads them."""
        return tuple(
            similarity.Category(name=c.name, parent=c.parent, similar_to=c.similar_to) for c in self.categories.values()
        )

    @property
    def signing_domains(self) -> frozenset[str]:
        """The domains that a key of its own is to sign for."""
        return frozenset(key.domain for key in self.dkim if key.state == "signing")

    def held_to(self, book: PackBook) -> PackBook:
        """The packs as this controller is held to them, stricter or with a motivation laxer than they are."""
        common = self.terms.get(ALL, AS_IT_IS)
        return book.each(lambda pack: applied(pack, self.terms.get(pack.code, AS_IT_IS), common))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one installation. `dir` is the folder of the file; every Path in here is already joined to it.

    `keys`: the database of the keys that personal data is sealed under, apart from the rest. `node`: the name of this
    machine among those that share a database; "" where it is what the machine calls itself.
    `digest`: SHA-256 of the file's text and of the packs and bounce rules beside it, in hex: what was in force, for the
    ledger. `dns_servers` empty: those of the system; `dnssec`: they validate. Of `verify_one_in` copies that left, one
    signature is checked.
    """

    path: Path
    dir: Path
    digest: str
    public_url: str
    hostname: str
    database: Database
    installation_key: Path
    keys: Database
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
    bounce_rules: BounceRules
    node: str = ""
    dns_servers: tuple[Address, ...] = ()
    dnssec: bool = False
    verify_one_in: int = 1000
    write_back_authorities: Path | None = None
    sns_hosts: tuple[Peer, ...] = ()
    seed: Seed | None = None

    def signing(self, stream: Stream) -> Signing:
        """Who signs the mail of a stream: we, or the provider behind its route."""
        return stream.dkim or self.routes[stream.route].dkim

    def stream_of(self, controller_id: str, name: str) -> tuple[Controller, Stream] | None:
        """A stream and whose it is; None where one of them is configured no more."""
        controller = self.controllers.get(controller_id)
        stream = controller.streams.get(name) if controller is not None else None
        return (controller, stream) if controller is not None and stream is not None else None

    @property
    def own_templates(self) -> Path:
        """The folder with a folder per controller, whose templates win over ours in what it sends."""
        return self.dir / "templates"

    @property
    def data_folder(self) -> Path:
        """The folder that fills up with what is kept here: that of the database's file, else that of the settings."""
        return self.dir if self.database.file is None else self.database.file.parent
