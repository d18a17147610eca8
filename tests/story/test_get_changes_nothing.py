"""GET and HEAD change nothing, ever, anywhere (DESIGN.md P4): every route is asked, by every role."""

import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI

from gateway import report
from gateway.web.api.keys import SCOPES
from gateway.web.staff.campaigns import campaign_id
from suppression.link_token import Kind
from tests.acme import NOW, Acme, acme
from tests.story.test_proof_pages import FORM

ANNA, BOB = "anna@example.org", "bob@example.org"
ROLES = ("submitter", "marketer", "privacy", "operator", "auditor", "administrator")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path) as made:
        await made.consented(ANNA, BOB)
        yield made


def routes(app: FastAPI) -> Iterator[str]:
    """Every path that answers GET: pages as they are registered, the API as it describes itself."""
    for route in app.router.routes:
        if "GET" in (getattr(route, "methods", None) or ()):
            yield route.path  # type: ignore[attr-defined]
    yield from (path for path, methods in app.openapi()["paths"].items() if "get" in methods)


def state(world: Acme) -> dict[str, tuple[int, str]]:
    """Rows and a digest of every table of both databases."""
    found = {}
    for path in (world.config.database.file, world.config.keys.file):
        with sqlite3.connect(path) as db:
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                rows = sorted(repr(row) for row in db.execute(f'SELECT * FROM "{table}"'))
                found[f"{path.name}/{table}"] = len(rows), hashlib.sha256("".join(rows).encode()).hexdigest()
    return found


async def test_no_route_writes_anything_when_it_is_only_read(world: Acme) -> None:
    sent = await world.send({ANNA: "ALLOW_OPT_IN", BOB: "SUPPRESSED_PURPOSE"})
    await world.send({ANNA: "ALLOW_OPT_IN", BOB: "ALLOW_OPT_IN"}, campaign="c2", rehearsed=True)
    digest = (await world.store.keep_wording("acme", FORM, at=NOW)).hex()
    rows = await report.campaigns(world.store, controllers=["acme"], rehearsed=None)
    campaigns = [campaign_id(row) for row in rows]
    tokens = [world.link(ANNA, kind=kind) for kind in get_args(Kind)]
    values = {
        "controller": ["acme"], "message_id": [sent], "copy_no": ["0", "1"], "id": campaigns, "digest": [digest],
        "token": tokens, "code": ["NL"], "name": ["staff.css"],
    }  # fmt: skip
    world.now = NOW + timedelta(hours=1)
    clients = [world.client()]
    clients += [await world.signed_in(role, role) for role in ROLES]
    key = await world.api_key(*SCOPES)
    clients.append(world.client(headers={"Authorization": f"Bearer {key}"}))
    paths = [path for template in routes(world.app) for path in filled(template, values)]
    assert len(paths) > 40 and any("/api/v1/decisions/" in path for path in paths)
    before, answered = state(world), set()
    for client in clients:
        for path in paths:
            for method in ("GET", "HEAD"):
                answer = await client.request(method, path)
                assert answer.status_code < 500 or path == "/readyz", path
                if answer.status_code == 200:
                    answered.add(path)
                assert ANNA not in answer.text and BOB not in answer.text, path
        await client.aclose()
        assert state(world) == before
    for wanted in (
        "/staff/decisions/",
        "/staff/captured/acme/",
        "/staff/rehearsals/",
        "/api/v1/decisions/",
        "/api/v1/key",
    ):
        assert any(path.startswith(wanted) for path in answered), wanted


def filled(template: str, values: dict[str, list[str]]) -> list[str]:
    """The paths of a route with every value for its parameters."""
    paths = [template]
    for name in re.findall(r"{(\w+)(?::\w+)?}", template):
        known = values.get(name, ["acme"])
        paths = [re.sub(rf"{{{name}(:\w+)?}}", one, path) for path in paths for one in known]
    return paths
