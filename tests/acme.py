"""Acme Wijnen in one process, for tests of pages: the real store and stories, no sockets.

The clock stands still until a test moves it. Mail arrives with the decisions a test names, and is captured.
"""

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uuid_utils
from argon2 import PasswordHasher
from prometheus_client import generate_latest

from gateway.be_told import BeTold
from gateway.config import Config
from gateway.confirm import Confirmations
from gateway.heed import Known
from gateway.keys import signers
from gateway.mail.envelope import Rcpt
from gateway.notice import Notices
from gateway.outbound.http_client import HttpClient, context_for
from gateway.post import pack_rcpt
from gateway.rehearse import Rehearsals
from gateway.render import renderer
from gateway.settings.load import load
from gateway.show import link_context
from gateway.sign_up import SignUps
from gateway.store import sqlite
from gateway.store.access import ApiKey
from gateway.store.contract import Act, Arrival, Ending, NewCopy, Ruling, Who
from gateway.store.staff import Staff
from gateway.web.api import keys
from gateway.web.server import build_app
from gateway.web.site import Site
from gateway.weigh import Case, Scales
from gateway.words import Words
from suppression.decision import Decision
from suppression.link_token import Kind, LinkToken, TokenKeys
from suppression.vault import KeyRing

NOW = datetime.now(UTC).replace(microsecond=0)
NEWSLETTER = Case(
    message_class="marketing", promotional=False, purpose="newsletter", categories=(), transaction_ref=False,
    restriction_exemption=None, unsubscribe="injectable", from_domain="acme.example",
)  # fmt: skip
ENVELOPE = {
    "mail_from": "news@acme.example", "ret": None, "envid": None, "helo": "tool.example", "peer_ip": "127.0.0.1",
    "tls": True, "login": True, "body_8bit": False, "smtputf8": False,
}  # fmt: skip
PASSWORD = "proeverij op de kade"
SINCE = NOW - timedelta(days=170)

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

[controllers.acme.streams.newsletter]
class = "marketing"
purpose = "newsletter"
from_domains = ["acme.example"]
directed_at_children = false
motivation.directed_at_children = "Wine is for adults."
[controllers.acme.streams.orders]
class = "transactional"
from_domains = ["acme.example"]

[controllers.acme.logins.newsletter]
streams = ["newsletter"]
allowed_ips = ["127.0.0.1"]
[controllers.acme.logins.orders]
streams = ["orders"]
allowed_ips = ["127.0.0.1"]
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
    """Write the configuration with its key, and load it."""
    key = folder / "installation.key"
    key.write_text(f"1 {base64.b64encode(bytes(range(32))).decode()}\n")
    key.chmod(0o600)
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


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


_words = lru_cache(Words.load)  # read once: they do not change


@lru_cache
def _hashed(password: str) -> str:
    return PasswordHasher(time_cost=1, memory_cost=1024).hash(password)


def _decision(code: str) -> Decision:
    allowed = code.startswith("ALLOW_")
    return Decision(
        verdict="allow" if allowed else "block", reason_code=code, cite="GDPR 7" if allowed else "GDPR 21(3)",
        basis="opt_in" if allowed else None, pack="NL", trace=("C1",), findings=(),
    )  # fmt: skip


class Acme:
    """The installation at work. `app` is the web application, `client` a browser without a window."""

    def __init__(self, config: Config, store: sqlite.SqliteStore, ring: KeyRing) -> None:
        self.config, self.store, self.ring, self.now = config, store, ring, NOW
        self.words, self.tokens = _words(), TokenKeys(ring.derived("link", length=64))
        self.requests: list[tuple[str, str, int]] = []
        self.mails: dict[tuple[str, str, int], bytes] = {}
        self.asked: list[asyncio.Task[None]] = []
        self.woken: list[str] = []
        self.http = HttpClient(context_for(config.write_back_authorities), agent="consentgate/test")

    async def begin(self) -> None:
        """Put the parts together."""
        self.numbers = {}
        for controller in self.config.controllers.values():
            named = [("controller", controller.id), *(("stream", s) for s in controller.streams)]
            for kind, name in [*named, *(("purpose", p) for p in controller.purposes)]:
                self.numbers[controller.id, kind, name] = await self.store.number(controller.id, kind, name)
        self.sign_ups = SignUps(self.store, self.ring, self.tokens, clock=self.clock, wake=lambda _: None)
        self.sign_ups.configure(self.config, Scales(self.config, frozenset()), self.words)
        self.confirmations = Confirmations(self.store, self.ring, self.tokens, clock=self.clock)
        self.confirmations.configure(self.config, Scales(self.config, frozenset()))
        self.be_told = BeTold(self.store, clock=self.clock)
        self.be_told.configure(Known(config=self.config, ring=self.ring, tokens=self.tokens), self.http)
        site = Site(
            config=self.config, store=self.store, words=self.words, ring=self.ring, tokens=self.tokens,
            scales=Scales(self.config, frozenset({("acme", "acme.example")})),
            full=lambda: "", clock=self.clock, secret=bytes(32), captured_mail=self._captured_mail,
            link_context=lambda token: link_context(self.store, self.config, token, self.now),
            rehearsals=await self._rehearsals(),
            notices=Notices(
                self.config, self.words, Scales(self.config, frozenset(signers(self.config))), self.ring
            ),
            sign_ups=self.sign_ups, confirmations=self.confirmations,
            be_told=self.be_told, metrics=generate_latest,
        )  # fmt: skip
        self.app = build_app(site, note=self._note, version="test")

    async def _rehearsals(self) -> Rehearsals:
        """As worker.py makes them; what is asked for in the background is in `asked`."""
        scales = Scales(self.config, frozenset(signers(self.config)))
        return Rehearsals(
            self.store, self.config, scales, Notices(self.config, self.words, scales, self.ring), self.ring,
            await renderer(self.store, self.config, self.words), clock=self.clock, wake=self.woken.append,
            spawn=lambda work: self.asked.append(asyncio.create_task(work)),
        )  # fmt: skip

    async def _captured_mail(self, controller: str, message_id: str, copy_no: int) -> bytes | None:
        return self.mails.get((controller, message_id, copy_no))

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

    def who(self, address: str, controller: str = "acme") -> Who:
        """How somebody is looked up."""
        return Who(controller, self.ring.recipient_keys(controller, address), self.ring.global_keys(address))

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
        """They signed up for the newsletter at `SINCE`."""
        record = {
            "id": "c1", "controller_id": "acme", "source": "own_form", "named_recipients": [],
            "purposes": ["newsletter"], "product_categories": None, "advertisers": [], "given_at": _stamp(SINCE),
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
        """They bought something at `SINCE`, and could have refused mail."""
        record = {
            "id": f"s-{category}", "controller_id": "acme", "kind": "purchase", "status": "concluded",
            "concluded_at": _stamp(SINCE), "relation_active": False, "relation_ended_at": None,
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

    async def send(
        self, codes: Mapping[str, str], *, subject: str = "Nieuwe wijnen", campaign: str = "c1", content: bytes = b"",
        controller: str = "acme", categories: tuple[str, ...] = (), rehearsed: bool = False,
    ) -> str:  # fmt: skip
        """A message arrived and each address got the decision of this reason code; what was allowed is captured.

        `rehearsed`: all of it is put by instead.
        Returns the message id as reports write it.
        """
        message_id, content = uuid_utils.uuid7().bytes, content or newsletter(subject)
        rulings = [Ruling(decision=_decision(code), as_of=self.now, packs="NL default") for code in codes.values()]
        copies = [
            NewCopy(
                copy_no=n, recipient_key=self.key(address, controller), address=address, ruling=ruling,
                rcpt=pack_rcpt(Rcpt(address=address)), route="main", due_at=None,
                state="rehearsed" if rehearsed else "claimed" if ruling.decision.verdict == "allow" else "blocked",
            )
            for n, (address, ruling) in enumerate(zip(codes, rulings, strict=True))
        ]  # fmt: skip
        await self.store.enqueue(Arrival(
            controller_id=controller, message_id=message_id, at=self.now, stream="newsletter", campaign=campaign,
            mode="rehearse" if rehearsed else "enforce", kind=replace(NEWSLETTER, categories=categories).to_json(),
            envelope=ENVELOPE, subject=subject, body=content,
            size=len(content), copies=copies,
            worker="test",
        ))  # fmt: skip
        allowed = [copy for copy in copies if copy.state == "claimed"]
        await self.store.finish("test", [
            Ending(
                controller_id=controller, message_id=message_id, copy_no=copy.copy_no, stream="newsletter",
                campaign=campaign, state="captured", ruling=copy.ruling, was="allowed", reply="", at=self.now,
            )
            for copy in allowed
        ])  # fmt: skip
        name = str(UUID(bytes=message_id))
        self.mails |= {(controller, name, copy.copy_no): content for copy in allowed}
        return name

    async def api_key(self, *scopes: str, controller: str = "acme", name: str = "checkout") -> str:
        """A new key of the API, as it is shown once."""
        text, key_id, digest = keys.make(self.numbers[controller, "controller", controller])
        await self.store.add_api_key(ApiKey(
            controller_id=controller, key_id=key_id, name=name, digest=digest, scopes=scopes, created_at=self.now,
        ))  # fmt: skip
        return text

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


async def pressed(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """The answer to a button of a staff page: a POST with the value that its forms carry."""
    page = await client.get("/staff")
    value = re.search(r'name="form" value="([^"]+)"', page.text)
    assert value is not None
    return await client.post(path, data={"form": value[1]})


@contextlib.asynccontextmanager
async def acme(folder: Path, *, public_url: str = "http://127.0.0.1:8080", more: str = "") -> AsyncIterator[Acme]:
    """A fresh installation in a folder."""
    config = write_config(folder, public_url=public_url, more=more)
    ring = KeyRing({1: bytes(range(32))})
    sqlite.create(config.database.file, config.keys.file)
    async with sqlite.opened(config.database.file, config.keys.file, ring) as store:
        world = Acme(config, store, ring)
        await world.begin()
        yield world
