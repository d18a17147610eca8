"""The page of who was told of opt-outs, and which tools go on mailing people who opted out."""

import html
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway import record
from gateway.store.telling import EVERY, JobEnd, State, Target
from tests.acme import NOW, Acme, acme

ANNA, BOB = "anna@example.org", "bob@example.org"
TARGETS = (
    Target(name="webhook/crm", host="crm.example:443", events=EVERY),
    Target(name="listmonk/main", host="lists.example:443"),
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path) as made:
        yield made


async def told(world: Acme) -> None:
    """anna and bob opted out: the endpoint knows, listmonk would not hear of one. Then anna was mailed again."""
    world.store.tell({"acme": TARGETS})
    await world.consented(ANNA, BOB)
    for who in (ANNA, BOB):
        await record.suppress(
            world.store,
            "acme",
            world.key(who),
            purpose="newsletter",
            reason="unsubscribe",
            source="page",
            now=world.now,
        )
    for host, state, said, n in (("crm.example:443", "done", "200", 2), ("lists.example:443", "failed", "403", 1)):
        await ended(world, host, state, said, n)
    world.now = NOW + timedelta(hours=1)
    for _ in range(3):
        await world.send({ANNA: "SUPPRESSED_PURPOSE", "niemand@example.org": "RECIPIENT_UNKNOWN"})


async def ended(world: Acme, host: str, state: State, said: str, n: int) -> None:
    for job in await world.store.claim_write_backs("w", host, now=world.now, n=n):
        await world.store.end_write_back("w", JobEnd(
            controller_id="acme", job_id=job.job_id, attempts=job.attempts, state=state, said=said, at=world.now
        ))  # fmt: skip


def rows(page: str) -> list[list[str]]:
    """The cells of each row, as a reader sees them."""
    found = []
    for row in re.findall(r"(?s)<tr>(.*?)</tr>", page.replace("<thead><tr>", "<thead>")):
        cells = re.findall(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>", row)
        found.append([" ".join(html.unescape(re.sub(r"(?s)<[^>]+>", " ", cell)).split()) for cell in cells])
    return found


async def test_each_system_has_a_row_and_so_has_each_tool_that_goes_on(world: Acme) -> None:
    await told(world)
    page = (await (await world.signed_in("mara", "marketer")).get("/staff/told")).text
    lists, crm, drift = rows(page)
    assert lists[0] == "listmonk/main" and lists[1] == "0" and lists[2].startswith("1 sinds") and lists[3] == "1"
    assert "403" in lists[4]
    assert crm[:4] == ["webhook/crm", "2", "0", "0"]
    assert drift[1:4] == ["3", "1", "3"]
    assert "example.org" not in page and "Opnieuw proberen" not in page


async def test_before_anything_is_set_up_the_page_says_how(world: Acme) -> None:
    page = (await (await world.signed_in("mara", "marketer")).get("/staff/told")).text
    assert "write_back_hosts" in page and "bood geen programma mail aan" in page
    assert rows(page) == []


async def test_the_operator_tries_again_or_drops_and_the_ledger_says_so(world: Acme) -> None:
    await told(world)
    client = await world.signed_in("olaf", "operator")
    page = (await client.get("/staff/told")).text
    value = re.search(r'name="form" value="([^"]+)"', page)
    assert value is not None
    asked = {"form": value[1], "controller": "acme", "target": "listmonk/main", "what": "again"}
    assert (await client.post("/staff/told", data=asked)).status_code == 303
    assert rows((await client.get("/staff/told")).text)[0][2:4] == [rows(page)[0][2].replace("1 ", "2 ", 1), "0"]
    assert (await client.post("/staff/told", data={**asked, "what": "drop"})).status_code == 303
    assert next(row[0] for row in rows((await client.get("/staff/told")).text)) == "webhook/crm"
    with sqlite3.connect(world.config.database.file) as db:
        acts = [json.loads(row[0]) for row in db.execute("SELECT public FROM ledger WHERE kind = 'staff_act'")]
    assert [(act["act"], act["by"], act["jobs"]) for act in acts] == [
        ("write_back_retried", "operator", 2), ("write_back_dropped", "operator", 2)
    ]  # fmt: skip


async def test_nobody_else_may(world: Acme) -> None:
    await told(world)
    client = await world.signed_in("mara", "marketer")
    page = (await client.get("/staff/told")).text
    value = re.search(r'name="form" value="([^"]+)"', page)
    assert value is not None
    asked = {"form": value[1], "controller": "acme", "target": "listmonk/main", "what": "drop"}
    assert (await client.post("/staff/told", data=asked)).status_code == 403
    client = await world.signed_in("olaf", "operator")
    for wrong in ({"controller": "other"}, {"what": "burn"}, {"target": ""}):
        assert (await client.post("/staff/told", data={**asked, **wrong})).status_code in (403, 404)
    assert len(await world.store.write_backs("acme", state="failed", n=9)) == 1
