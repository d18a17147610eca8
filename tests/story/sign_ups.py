"""Acme with sign-up forms, in one process and with a clock that tests move: for tests of pages and of the API."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config import Config
from gateway.confirmation import case
from gateway.recall import lookup
from gateway.store.ahead import new_id
from gateway.store.contract import Act, Person, SuppressionRow
from gateway.weigh import Case, Scales
from suppression.history import Entry
from suppression.link_token import LinkToken
from tests.acme import Acme, acme

FORMS = """
[[controllers.acme.dkim]]
domain = "acme.example"
selector = "cg1"
key = "dkim.pem"

[controllers.acme.forms.newsletter]
purposes = ["newsletter", "events"]
stream = "newsletter"
from = "news@acme.example"
ask_birth_date = false
hourly_per_network = 5
hourly = 8

[controllers.acme.forms.youth]
purposes = ["events"]
stream = "newsletter"
from = "news@acme.example"
hourly_per_network = 1000

[controllers.acme.forms.single]
purposes = ["newsletter"]
stream = "newsletter"
from = "news@acme.example"
double_opt_in = false
ask_birth_date = false
hourly_per_network = 1000
"""
CHILDREN = """
[controllers.acme.streams.youth]
class = "marketing"
purpose = "events"
from_domains = ["acme.example"]
directed_at_children = true
motivation.directed_at_children = "Lemonade for everybody."
"""
"""A stream that may be aimed at children, by which invitations go out."""


@dataclass
class Forms:
    """The installation, and what visitors, readers of mail and decisions do with it. `key`: of the API, where used."""

    world: Acme
    key: str = ""

    async def send(
        self, address: str, *purposes: str, form: str = "newsletter", host: str = "127.0.0.1", **more: str
    ) -> httpx.Response:
        """Fill in a form and send it."""
        said = {"address": address, **{f"purpose-{purpose}": "yes" for purpose in purposes}, **more}
        async with self.world.client(host=host) as client:
            return await client.post(f"/s/acme/{form}?lang=nl", data=said)

    async def asked(self, address: str, *purposes: str, **more: str) -> str:
        """Sign up; the link's token as the mail has it, from what the ledger keeps of the mail."""
        answer = await self.send(address, *(purposes or ("newsletter",)), **more)
        assert answer.status_code == 200, answer.text
        [*_, last] = [one for one in await self.entries(address) if one.kind == "opt_in_requested"]
        return str(last.fields["sign_up"]["mail"]["text"]).partition("/c/")[2].split()[0]

    async def click(self, token: str, method: str = "POST") -> httpx.Response:
        async with self.world.client(headers={"Accept-Language": "nl"}) as client:
            return await client.request(method, f"/c/{token}")

    async def entries(self, address: str) -> tuple[Entry, ...]:
        [history] = await self.world.store.histories([lookup(self.world.ring, "acme", None, address)])
        return history.own.entries

    async def person(self, address: str) -> Person:
        [person] = await self.world.store.people([lookup(self.world.ring, "acme", None, address)])
        return person

    async def code(self, address: str, purpose: str = "newsletter", stream: str | None = None) -> str:
        """What the law says of a newsletter to them now."""
        config: Config = self.world.config
        controller = config.controllers["acme"]
        message = Case(
            message_class="marketing", promotional=True, purpose=purpose, categories=(), transaction_ref=False,
            restriction_exemption=None, unsubscribe="injectable", from_domain="acme.example",
        )  # fmt: skip
        mailing = replace(
            controller.streams[stream or {"events": "youth"}.get(purpose, "newsletter")], ad_identifiable=True
        )  # fmt: skip
        weigh = Scales(config, frozenset({("acme", "acme.example")})).lay(message, controller, mailing)
        return weigh(await self.person(address), self.world.now).decision.reason_code

    async def question_code(self, address: str) -> str:
        """What the law says now of the mail that asks to confirm."""
        controller = self.world.config.controllers["acme"]
        message = case(controller.forms["newsletter"], ("newsletter",))
        scales = Scales(self.world.config, frozenset({("acme", "acme.example")}))
        weigh = scales.lay(message, controller, controller.streams["newsletter"])
        return weigh(await self.person(address), self.world.now).decision.reason_code

    async def mails(self) -> int:
        """Mails that wait to leave."""
        return await self.world.store.waiting()

    async def suppress(self, address: str, reason: str, *, scope: str = "sender", purpose: str | None = None) -> None:
        """Put somebody on the list now, with the ledger entry of it."""
        row = SuppressionRow(
            controller_id="acme", recipient_key=self.world.key(address), suppression_id=new_id(), scope=scope,
            purpose=purpose, reason=reason, source="staff", at=self.world.now, lifted_at=None,
        )  # fmt: skip
        act = Act(
            controller_id="acme", recipient_key=row.recipient_key, kind="suppression", private=None, at=row.at,
            public={"scope": scope, "purpose": purpose, "reason": reason, "source": "staff",
                    "ref": row.suppression_id.hex(), "at": row.at.isoformat(), "until": None},
        )  # fmt: skip
        await self.world.store.opt_out([act], row, None)

    async def state(self, address: str, consent: Mapping[str, Any]) -> None:
        """Put a consent on file as an import or a call of the API does: under its id it corrects an older one."""
        act = Act(
            controller_id="acme", recipient_key=self.world.key(address), kind="consent", public={}, private=consent,
            at=self.world.now,
        )  # fmt: skip
        assert await self.world.store.record([act]) == [True]

    def later(self, **time: float) -> None:
        self.world.now += timedelta(**time)

    async def rebuilt(self) -> None:
        """The projection is what the ledger amounts to."""
        page = await self.world.store.rebuild("acme", after=b"", n=1000, write=False)
        assert page.differences == ()

    def stop_token(self, address: str) -> LinkToken:
        """The link of a newsletter that somebody got."""
        opened = self.world.tokens.open("unsubscribe", self.world.link(address))
        assert opened is not None
        return opened


@asynccontextmanager
async def forms(folder: Path, **more: Any) -> AsyncIterator[Forms]:
    """A fresh installation with forms."""
    key = folder / "dkim.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(pem)
    key.chmod(0o600)
    async with acme(folder, more=FORMS + CHILDREN, **more) as world:
        yield Forms(world)
