"""Acme Wijnen in one process, for tests of pages: real store, acceptance, delivery and rewriting; no sockets.

The clock stands still at `NOW` until a test moves it. Mail goes to a capture route.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.accept import Accept
from gateway.config import Config, load
from gateway.deliver import Deliver
from gateway.mail.dkim import load_signer
from gateway.mail.envelope import Envelope, Rcpt
from gateway.mail.reply import Reply
from gateway.render import Renderer
from gateway.show import captured_mail, link_context
from gateway.store import sqlite
from gateway.store.contract import Act, Staff
from gateway.web.server import build_app
from gateway.web.site import Site
from gateway.weigh import Scales
from gateway.words import Words
from suppression.link_token import Kind, LinkToken, TokenKeys
from suppression.vault import KeyRing

NOW = datetime(2026, 11, 21, 9, 4, tzinfo=UTC)
PASSWORD = "proeverij op de kade"
SINCE = "2026-06-03T10:00:00Z"

TOML = """
public_url = "PUBLIC_URL"
database.url = "sqlite:consentgate.db"
trusted_proxies = ["10.1.0.0/16"]

[keys]
installation = "installation.key"
database = "keys.db"

[listen]
submission = ["127.0.0.1:2525"]
web = "127.0.0.1:8080"
return_path = "127.0.0.1:2526"

[routes.main]
kind = "capture"

[controllers.acme]
legal_name = "Acme Wijnen B.V."
display_name = "Acme Wijnen"
postal_address = "Kade 1, 1011 AB Amsterdam"
opt_out_contact = "privacy@acme.example"
notice_url = "https://acme.example/privacy"
notice_version = "pn1"
country = "NL"
default_country = "NL"
default_country_motivation = "The shop delivers in the Netherlands only."
language = "nl"
timezone = "Europe/Amsterdam"
domains = ["acme.example"]
accent = "#7c2d12"

[controllers.acme.purposes.newsletter]
title = { nl = "de nieuwsbrief", en = "the newsletter", fr = "la newsletter", de = "den Newsletter" }
[controllers.acme.purposes.events.title]
nl = "uitnodigingen voor proeverijen"
en = "invitations to tastings"
fr = "les invitations aux dégustations"
de = "Einladungen zu Verkostungen"

[controllers.acme.categories.wine]
[controllers.acme.categories.clothing]

[controllers.acme.streams.newsletter]
class = "marketing"
purpose = "newsletter"
categories = ["wine"]
from_domains = ["acme.example"]
ad_identifiable = true
directed_at_children = false
b2b_relevant = false
motivation = { ad_identifiable = "Signed by the shop.", directed_at_children = "Adults only.", b2b_relevant = "Consumers." }
[controllers.acme.streams.orders]
class = "transactional"
from_domains = ["acme.example"]

[controllers.acme.logins.newsletter]
streams = ["newsletter"]
allowed_ips = ["127.0.0.1"]
[controllers.acme.logins.orders]
streams = ["orders"]
allowed_ips = ["127.0.0.1"]

[[controllers.acme.dkim]]
domain = "acme.example"
selector = "cg1"
key = "dkim.pem"
"""

OTHER = """
[controllers.other]
legal_name = "Other B.V."
opt_out_contact = "stop@other.example"
country = "NL"
domains = ["other.example"]
[controllers.other.purposes.newsletter]
title = { nl = "het blad" }
"""


def write_config(folder: Path, *, public_url: str = "http://127.0.0.1:8080", more: str = "") -> Config:
    """Write the configuration with its keys, and load it."""
    pem = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secrets = {"installation.key": f"1 {base64.b64encode(bytes(range(32))).decode()}\n", "dkim.pem": pem.decode()}
    for name, text in secrets.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    path = folder / "consentgate.toml"
    path.write_text(TOML.replace("PUBLIC_URL", public_url) + more)
    return load(path)


def newsletter(subject: str = "Nieuwe wijnen", *, to: str = "Lezers <lezers@acme.example>", html: str = "") -> bytes:
    """A newsletter in text and HTML."""
    html = html or "<html><body><h1>Rode wijn</h1><p>Alleen deze week.</p></body></html>"
    return (
        f"From: Acme Wijnen <news@acme.example>\r\nTo: {to}\r\nSubject: {subject}\r\n"
        "Date: Sat, 21 Nov 2026 10:00:00 +0100\r\nMessage-ID: <n@acme.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nRode wijn met korting.\r\n"
        f"--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--b1--\r\n"
    ).encode()


@lru_cache
def _hashed(password: str) -> str:
    return PasswordHasher(time_cost=1, memory_cost=1024).hash(password)


class Acme:
    """The installation at work. `app` is the web application, `client` a browser without a window."""

    def __init__(self, config: Config, store: sqlite.SqliteStore, ring: KeyRing) -> None:
        self.config, self.store, self.ring, self.now = config, store, ring, NOW
        self.words, self.tokens = Words.load(), TokenKeys(ring.derived("link", length=64))
        self.requests: list[tuple[str, str, int]] = []

    async def begin(self) -> None:
        """Put the parts together."""
        signers = {"acme.example": (load_signer("acme.example", "cg1", (self.config.dir / "dkim.pem").read_bytes()),)}
        numbers = {}
        for controller in self.config.controllers.values():
            named = [("controller", controller.id), *(("stream", s) for s in controller.streams)]
            for kind, name in [*named, *(("purpose", p) for p in controller.purposes)]:
                numbers[controller.id, kind, name] = await self.store.number(controller.id, kind, name)
        self.numbers = numbers
        renderer = Renderer(self.config, self.words, self.tokens, numbers, signers)
        scales = Scales(self.config, frozenset(signers))
        self.deliver = Deliver(self.store, worker="test", ring=self.ring, clock=self.clock)
        self.deliver.configure(self.config, scales, renderer, {})
        self.accept = Accept(self.store, self.deliver, ring=self.ring, clock=self.clock)
        self.accept.configure(self.config, scales)
        site = Site(
            config=self.config, store=self.store, words=self.words, ring=self.ring, tokens=self.tokens,
            clock=self.clock, secret=bytes(32),
            link_context=lambda token: link_context(self.store, self.config, token, self.now),
            captured_mail=lambda controller, message, copy: captured_mail(
                self.store, self.config, renderer, controller, message, copy
            ),
        )  # fmt: skip
        self.app = build_app(site, note=self._note, version="test")

    def _note(self, *, route: str, method: str, status: int, seconds: float) -> None:
        self.requests.append((route, method, status))

    def clock(self) -> datetime:
        """The time that a test set."""
        return self.now

    def client(self, **more: Any) -> httpx.AsyncClient:
        """A browser's requests; it keeps cookies and does not follow redirects."""
        host = more.pop("host", "127.0.0.1")
        transport = httpx.ASGITransport(app=self.app, client=(host, 50000))
        return httpx.AsyncClient(transport=transport, base_url=self.config.public_url, **more)

    def key(self, address: str, controller: str = "acme") -> bytes:
        """The recipient key of an address."""
        return self.ring.recipient_keys(controller, address)[0]

    def link(
        self, address: str, *, kind: Kind = "unsubscribe", basis: str | None = "opt_in", purpose: str = "newsletter"
    ) -> str:
        """The token of a link in a mail to this address."""
        return self.tokens.make(LinkToken(
            kind=kind, controller_no=self.numbers["acme", "controller", "acme"], recipient_key=self.key(address),
            stream_no=self.numbers["acme", "stream", "newsletter"], basis=basis, message_id=bytes(16),
            purpose_no=self.numbers["acme", "purpose", purpose],
        ))  # fmt: skip

    async def consented(self, *addresses: str, language: str | None = None) -> None:
        """They signed up for the newsletter on 3 June 2026."""
        record = {
            "id": "c1", "controller_id": "acme", "source": "own_form", "named_recipients": [],
            "purposes": ["newsletter"], "product_categories": None, "advertisers": [], "given_at": SINCE,
            "withdrawn_at": None, "expires_at": None, "last_interaction_at": None, "action": "active_tick",
            "evidence": {"method": "web_form", "wording_version": "w", "privacy_notice_version": "p", "origin": "form"},
            "bundled_with_terms": False, "conditional_on_service": False, "granular": True,
            "double_opt_in": {"required": False, "requested_at": None, "confirmed_at": None, "mails_sent": 0},
            "parental_authorisation": False, "sharing_consent": False, "seller_verified": False,
            "buyer_verified": False, "explicit_special_category": False,
        }  # fmt: skip
        await self.store.record([self._act(address, "consent", record) for address in addresses])
        if language:
            await self.store.record([self._act(address, "person", {"language": language}) for address in addresses])

    async def bought(self, address: str, category: str = "wine") -> None:
        """They bought something on 3 June 2026, and could have refused mail."""
        record = {
            "id": f"s-{category}", "controller_id": "acme", "kind": "purchase", "status": "concluded",
            "concluded_at": SINCE, "relation_active": False, "relation_ended_at": None,
            "product_categories": [category], "address_source": "given_in_context",
            "opt_out_offered_at_collection": True, "opt_out_used_at_collection": False,
            "privacy_notice_version": "p", "opt_out_in_all_messages": True, "marketing_sent_at": [],
        }  # fmt: skip
        await self.store.record([self._act(address, "sale", record)])

    def _act(self, address: str, kind: str, record: dict[str, Any]) -> Act:
        return Act(
            controller_id="acme", recipient_key=self.key(address), kind=kind, public={}, private=record, at=NOW,
            address=address,
        )  # fmt: skip

    async def send(self, *addresses: str, content: bytes = b"") -> Reply:
        """A campaign by way of the newsletter login."""
        return await self.accept(Envelope(
            login="newsletter", suffix=None, mail_from="news@acme.example", content=content or newsletter(),
            rcpts=tuple(Rcpt(address=address) for address in addresses), body_8bit=True, smtputf8=False, ret=None,
            envid=None, peer_ip="127.0.0.1", helo="tool", tls=False,
        ))  # fmt: skip

    async def settled(self, copies: int) -> None:
        """Deliver until so many copies were captured."""
        working = asyncio.create_task(self.deliver.run())
        async with asyncio.timeout(20):
            while len(await self.store.captured("acme", before=None, n=copies, addresses=False)) < copies:
                await asyncio.sleep(0)
        await self.deliver.stop(5)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    async def staff(self, name: str, *roles: str, controllers: Sequence[str] = ("acme",)) -> None:
        """Somebody who may sign in with PASSWORD."""
        hashed = _hashed(PASSWORD)
        made = Staff(name=name, password_hash=hashed, roles=tuple(roles), controllers=tuple(controllers))
        await self.store.put_staff(made, self.now)

    async def signed_in(self, name: str, role: str, **more: Any) -> httpx.AsyncClient:
        """The browser of a member of staff, signed in, asking for Dutch."""
        await self.staff(name, role)
        client = self.client(headers={"Accept-Language": "nl"}, **more)
        answer = await client.post("/staff/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client


@contextlib.asynccontextmanager
async def acme(folder: Path, *, public_url: str = "http://127.0.0.1:8080", more: str = "") -> AsyncIterator[Acme]:
    """A fresh installation in a folder."""
    config = write_config(folder, public_url=public_url, more=more)
    ring = KeyRing({1: bytes(range(32))})
    sqlite.create(config.database_path, config.keys_database)
    async with sqlite.opened(config.database_path, config.keys_database, ring) as store:
        world = Acme(config, store, ring)
        await world.begin()
        yield world
