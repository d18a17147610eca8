"""A gateway between a newsletter tool and the next server, as tests of the whole program see it."""

import asyncio
import contextlib
import csv
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

import dkim
import httpx
import pytest

from gateway import report
from gateway.app import opened_store
from gateway.config import Config
from gateway.files.native import Kind
from gateway.keys import key_ring
from gateway.settings import load as settings_file
from gateway.store.contract import Store
from gateway.take_in import take_in
from tests.installation import ANNA, KLEED, WIM, Gateway, Installation, consent, sale
from tests.installation import fresh as fresh
from tests.peers import FEATURES, Step
from tests.story.upstream import Mail, Upstream

ONE_CLICK = {"content": "List-Unsubscribe=One-Click", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
T = TypeVar("T")
on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True, scope="module")
"""For tests, or modules, whose installations come from `make` or `relay`: once with files, once with a server."""
_PAGE_LINK = re.compile(r"https?://[^\s\"'<>]+/u/[A-Za-z0-9_-]+")


def with_store(installation: Installation, ask: Callable[[Store, Config], Awaitable[T]]) -> T:
    """Ask the store of an installation in this process, beside the gateway: what commands do, without their start."""

    async def asked() -> T:
        config = config_of(installation)
        async with opened_store(config) as store:
            return await ask(store, config)

    return asyncio.run(asked())


def config_of(installation: Installation) -> Config:
    """The settings as they stand in the file now."""
    return settings_file.load(installation.config)


def load(installation: Installation, kind: Kind, rows: Sequence[Mapping[str, str]], controller: str = "acme") -> None:
    """Import rows; every one has to be taken."""
    columns = sorted({name for row in rows for name in row})
    file = installation.dir / f"{kind}.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(rows)
    summary = with_store(
        installation,
        lambda store, config: take_in(
            file, kind, store=store, controller=config.controllers[controller], ring=key_ring(config),
            now=datetime.now(UTC),
        ),
    )  # fmt: skip
    assert summary.rejected == summary.skipped == 0, summary


def load_people(installation: Installation) -> None:
    """anna agreed, wim bought wine, kleed clothing; niemand stays unknown."""
    load(installation, "consents", [consent(ANNA)])
    load(installation, "sales", [sale(WIM, "wine"), sale(KLEED, "clothing")])


@dataclass
class Relay:
    """The installation, its gateway as a process, and the server it hands over to."""

    installation: Installation
    gateway: Gateway
    upstream: Upstream

    def send(
        self, recipients: Sequence[str] | str, message: bytes, *, login: str = "newsletter", **more: str
    ) -> tuple[int, str]:
        """Send one message; the reply to DATA. Every RCPT has to be taken."""
        to = [recipients] if isinstance(recipients, str) else recipients
        refused, (code, text) = self.gateway.send(to, message, login=login, **more)
        assert not refused, refused
        return code, text.decode()

    def taken(self, recipients: Sequence[str] | str, message: bytes, **more: str) -> str:
        """Send one message, which has to be answered 250; the last word of the answer, its id."""
        code, text = self.send(recipients, message, **more)
        assert code == 250, text
        return text.rpartition(" ")[2]

    def passes(self, recipient: str, message: bytes, **more: str) -> Mail:
        """Send one message to one recipient; the copy that came out."""
        before = len(self.upstream.to(recipient))
        self.taken(recipient, message, **more)
        self.upstream.until(lambda: len(self.upstream.to(recipient)) > before)
        return self.upstream.to(recipient)[before]

    def kept_out(self, recipient: str, message: bytes, **more: str) -> str:
        """Send one message that is taken but has to stay here; its reason code."""
        named = self.taken(recipient, message, **more)
        [row] = [row for row in self.blocked() if row.message_id == named]
        assert row.decision == "block"
        return row.reason_code

    def agree(self, *addresses: str) -> None:
        """These people agreed to the newsletter: imported while the gateway runs."""
        load(self.installation, "consents", [consent(address) for address in addresses])

    def blocked(self) -> list[report.BlockedRow]:
        """The report of what was kept out, with addresses, newest first."""
        return with_store(
            self.installation,
            lambda store, config: report.blocked(store, controllers=config.controllers, addresses=True, limit=1000),
        )

    def campaign(self, name: str) -> report.CampaignRow:
        """One row of the report on campaigns."""
        rows = with_store(
            self.installation, lambda store, config: report.campaigns(store, controllers=config.controllers)
        )
        [row] = [row for row in rows if row.campaign == name]
        return row

    def http(self, method: str, url: str, **more: object) -> httpx.Response:
        """A request as a phone or a mailbox provider makes it: no cookies, no redirects followed."""
        with httpx.Client(timeout=30) as client:
            return client.request(method, url, **more)  # type: ignore[arg-type]

    def one_click(self, url: str) -> httpx.Response:
        """RFC 8058: the POST of a mailbox provider."""
        return self.http("POST", url, **ONE_CLICK)

    def a_second_passes(self) -> None:
        """What counts from a second after it was answered counts now (P2, P3)."""
        end = time.monotonic() + 1.0
        self.gateway.eventually(lambda: time.monotonic() > end)

    def drained(self) -> None:
        """Wait until nothing waits to leave any more."""
        waiting = "SELECT count(*) FROM copies WHERE state IN ('queued', 'claimed')"
        self.gateway.eventually(lambda: self.installation.ask(waiting) == [["0"]])


@contextlib.contextmanager
def relaying(
    installation: Installation,
    script: Mapping[str, Step | Sequence[Step]] | None = None,
    *,
    features: Sequence[str] = FEATURES,
    connections: int = 10,
    workers: int = 1,
) -> Iterator[Relay]:
    """A gateway on this installation, handing over to an upstream of its own."""
    with Upstream(script, features=features) as upstream:
        installation.use_smarthost(upstream.port)
        installation.change('tls = "none"', f'tls = "none"\nconnections = {connections}')
        gateway = Gateway(installation)
        try:
            yield Relay(installation, gateway.start("--workers", workers), upstream)
        finally:
            gateway.kill()


def one_click_url(mail: Mail) -> str:
    """The http(s) address of List-Unsubscribe; there has to be exactly one."""
    [value] = mail.message.get_all("List-Unsubscribe")
    urls = re.findall(r"<(https?:[^>]*)>", value)
    assert len(urls) == 1, value
    return str(urls[0])


def page_links(mail: Mail) -> dict[str, set[str]]:
    """By content type of each displayed leaf, the addresses of unsubscribe pages in it."""
    found: dict[str, set[str]] = {}
    for part in mail.message.walk():
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            decoded = part.get_payload(decode=True).decode("latin-1")
            found.setdefault(part.get_content_type(), set()).update(_PAGE_LINK.findall(decoded))
    return found


def path_of(url: str) -> str:
    """The path of an address: `/o/TOKEN`."""
    return urlsplit(url).path


def verify_dkim(mail: Mail, installation: Installation) -> frozenset[str]:
    """Verify our signatures with dkimpy and the records of DIR/dkim; the names of the fields covered, lower case.

    Other people's signatures are left alone.
    """
    covered: frozenset[str] = frozenset()
    algorithms = []
    signatures = [value for name, value in mail.message.raw_items() if name.lower() == "dkim-signature"]
    for number, value in enumerate(signatures):
        tags = dict(part.split("=", 1) for part in re.sub(r"\s", "", value).split(";") if part)
        assert "l" not in tags
        further = installation.dir / "dkim" / f"{tags['d']}.{tags['s']}.txt"
        record = further if further.exists() else installation.dir / "dkim" / f"{tags['d']}.txt"
        if not record.exists():
            continue
        text = "".join(re.findall(r'"([^"]*)"', record.read_text())).encode()
        assert dkim.DKIM(mail.raw).verify(idx=number, dnsfunc=lambda name, timeout=5, text=text: text)
        covered |= set(tags["h"].lower().split(":"))
        algorithms.append(tags["a"])
    assert algorithms == ["rsa-sha256", "ed25519-sha256"], "both of ours, RSA on top"
    return covered
