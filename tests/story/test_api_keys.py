"""Keys of the API: who gets in, who does not, and that a refusal says what to do and nothing else.

Invariants: a key opens its own controller only, what it was given for, and nothing once it is revoked (P8); what was
sent is never repeated (P9).
"""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from gateway.store.access import ApiKey
from gateway.web.api import keys
from gateway.web.edge import BODY_BYTES
from gateway.web.guard import FREE_TRIES
from tests.acme import NOW, OTHER, Acme, acme
from tests.installation import Installation, lines_of


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=OTHER) as made:
        yield made


def ask(text: str | None) -> dict[str, str]:
    return {} if text is None else {"Authorization": f"Bearer {text}"}


async def whoami(world: Acme, text: str | None, **more: str) -> httpx.Response:
    async with world.client(**more) as client:
        return await client.get("/api/v1/key", headers=ask(text))


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status and said["type"] == "about:blank" and said["title"]
    assert "set-cookie" not in answer.headers
    return str(said["detail"])


async def test_a_key_says_what_it_is(world: Acme) -> None:
    text = await world.api_key("consents:write")
    answer = await whoami(world, text)
    assert answer.status_code == 200
    [kept] = await world.store.api_keys("acme")
    assert answer.json() == {
        "controller": "acme", "key": kept.key_id.hex(), "name": "checkout", "scopes": ["consents:write"],
    }  # fmt: skip
    assert kept.last_used_at is None, "a GET writes nothing"
    assert keys.read(text) is not None and len(text) == 62


async def test_nothing_of_the_secret_is_stored(world: Acme) -> None:
    text = await world.api_key("consents:write")
    await world.store.close()
    stored = b"".join(file.read_bytes() for file in world.config.dir.iterdir() if file.is_file())
    assert text.encode() not in stored
    assert base64.urlsafe_b64decode(text.removeprefix("cg_") + "=")[12:] not in stored


async def test_without_a_key_nothing_is_answered(world: Acme) -> None:
    answer = await whoami(world, None)
    assert "Bearer" in problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_changed_key_does_not_fit(world: Acme) -> None:
    text = await world.api_key("consents:write")
    for n, place in enumerate((3, 9, 20, 40, 60)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        problem(await whoami(world, changed, host=f"8.8.4.{n}"), 401)
    for n, odd in enumerate(("", "cg_", text[:-1], text + "A", text.upper(), "Basic")):
        problem(await whoami(world, odd, host=f"8.8.5.{n}"), 401)


async def test_a_key_of_one_controller_under_the_number_of_another(world: Acme) -> None:
    mine = await world.api_key("consents:write")
    raw = base64.urlsafe_b64decode(mine.removeprefix("cg_") + "=")
    number = (await world.store.number("other", "controller", "other")).to_bytes(4, "big")
    crossed = "cg_" + base64.urlsafe_b64encode(number + raw[4:]).rstrip(b"=").decode()
    problem(await whoami(world, crossed), 401)


async def test_a_revoked_key_is_refused_at_once(world: Acme) -> None:
    text = await world.api_key("consents:write")
    [kept] = await world.store.api_keys("acme")
    assert await world.store.revoke_api_key("acme", kept.key_id, NOW)
    assert not await world.store.revoke_api_key("acme", kept.key_id, NOW)
    assert "revoked" in problem(await whoami(world, text), 401)


async def test_guessing_is_slowed_down_and_a_right_key_from_elsewhere_is_not(world: Acme) -> None:
    text = await world.api_key("consents:write")
    wrong = text[:-2] + ("AA" if text[-2:] != "AA" else "BA")
    for _ in range(FREE_TRIES):
        problem(await whoami(world, wrong, host="8.8.4.4"), 401)
    answer = await whoami(world, text, host="8.8.4.4")
    problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert (await whoami(world, text, host="8.8.8.8")).status_code == 200
    world.now += timedelta(seconds=3)
    assert (await whoami(world, text, host="8.8.4.4")).status_code == 200
    problem(await whoami(world, wrong, host="8.8.4.4"), 401)
    problem(await whoami(world, text, host="8.8.4.4"), 429)
    world.now += timedelta(hours=2)  # long ago is forgotten: one slip of the pen costs nobody a pause
    problem(await whoami(world, wrong, host="8.8.4.4"), 401)
    assert (await whoami(world, text, host="8.8.4.4")).status_code == 200


async def test_when_a_key_was_used_is_noted_once_an_hour(world: Acme) -> None:
    text = await world.api_key("decisions:read")
    for later in (0, 59, 60):
        world.now = NOW + timedelta(minutes=later)
        async with world.client(headers={"Authorization": f"Bearer {text}"}) as client:
            assert (await client.post("/api/v1/decisions", json={})).status_code == 422
        [kept] = await world.store.api_keys("acme")
        assert kept.last_used_at == (NOW if later < 60 else world.now)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/v1/nope", 404), ("POST", "/api/v1/key", 405)])
async def test_what_is_not_there_is_a_problem_too(world: Acme, method: str, path: str, status: int) -> None:
    async with world.client() as client:
        problem(await client.request(method, path), status)


async def test_a_body_that_is_too_long_is_a_problem(world: Acme) -> None:
    async with world.client() as client:
        problem(await client.post("/api/v1/key", content=b"x" * (BODY_BYTES + 1)), 413)


async def test_a_store_that_is_down_is_503_and_says_when_to_come_back(world: Acme) -> None:
    text = await world.api_key("consents:write")
    await world.store.close()
    answer = await whoami(world, text)
    problem(answer, 503)
    assert answer.headers["retry-after"] == "60"


async def test_the_description_names_keys_and_refusals(world: Acme) -> None:
    async with world.client() as client:
        said = (await client.get("/api/v1/openapi.json")).json()
    assert said["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in said["paths"].items():
        assert path.startswith("/api/v1/"), path
        for route in methods.values():
            hook = path.startswith("/api/v1/hooks/")  # providers prove themselves in their own ways
            assert route["security"] == ([] if hook else [{"HTTPBearer": []}])
            assert {"401", "403", "429", "503"} <= set(route["responses"])
            assert "application/problem+json" in route["responses"]["401"]["content"]


async def test_keys_are_kept_per_controller(world: Acme) -> None:
    await world.api_key("consents:write")
    [kept] = await world.store.api_keys("acme")
    theirs = ApiKey(
        controller_id="other", key_id=kept.key_id, name="x", digest=bytes(32), scopes=(), created_at=NOW,
    )  # fmt: skip
    await world.store.add_api_key(theirs)
    assert await world.store.api_keys("other") == [theirs]
    assert await world.store.revoke_api_key("other", kept.key_id, NOW)
    assert (await world.store.api_keys("acme")) == [replace(kept, revoked_at=None)]


def test_keys_by_command(installation: Installation) -> None:
    made = installation.tool("user", "key", "add", "the shop's checkout", "--scope", "consents:write")
    assert made.returncode == 0, made.stderr
    text = made.stdout.decode().strip()
    assert keys.read(text) is not None
    listed = installation.tool("user", "key", "list", "--json")
    [row] = lines_of(listed)
    assert (row["controller"], row["name"], row["scopes"]) == ("acme", "the shop's checkout", ["consents:write"])
    assert text not in listed.stdout.decode() and row["last_used_at"] is None and row["revoked_at"] is None
    assert installation.tool("user", "key", "revoke", row["key"]).returncode == 0
    again = installation.tool("user", "key", "revoke", row["key"])
    assert again.returncode == 1 and b"no key" in again.stderr
    unknown = installation.tool("user", "key", "add", "x", "--scope", "everything")
    assert unknown.returncode == 1 and b"consents:write" in unknown.stderr
