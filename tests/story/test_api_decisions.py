"""Why was this sent, or not; and may this be sent now: the API's answers, and what they never hold."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store.evidence import Erasure
from tests.acme import NOW, OTHER, Acme, acme

VERA, KEES = "vera@example.org", "kees@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=OTHER) as made:
        await made.consented(VERA)
        made.now = NOW + timedelta(hours=1)
        async with made.client() as client:
            clicked = await client.post(f"/o/{made.link(VERA)}", data={"List-Unsubscribe": "One-Click"})
            assert clicked.status_code == 200
        made.now = NOW + timedelta(hours=2)
        yield made


async def ask(world: Acme, path: str, scope: str = "decisions:read", *, controller: str = "acme", **more: Any) -> Any:
    key = await world.api_key(scope, controller=controller)
    headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
    async with world.client() as client:
        method = more.pop("method", "POST")
        return await client.request(method, f"/api/v1/decisions{path}", headers=headers, **more)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    said: dict[str, Any] = answer.json()
    return said


async def looks(world: Acme) -> int:
    [history] = await world.store.histories([world.who(VERA)])
    return sum(entry.kind == "looked_at" for entry in history.own.entries)


async def test_a_decision_is_explained_in_the_language_asked_for(world: Acme) -> None:
    message = await world.send({VERA: "SUPPRESSED_PURPOSE"})
    answer = await ask(world, f"/{message}/0", headers={"Accept-Language": "nl"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["decision"], told["reason_code"], told["copy"]) == ("block", "SUPPRESSED_PURPOSE", 0)
    assert (told["explanation"]["rule"], told["explanation"]["actor"]) == ("C1", "person")
    assert told["text"].startswith("Tegengehouden. Staat voor deze mails op de afmeldlijst. Afmelding van ")
    assert told["today"]["explanation"]["code"] == "SUPPRESSED_PURPOSE"
    assert VERA not in answer.text and world.key(VERA).hex() not in answer.text
    french = await ask(world, f"/{message.replace('-', '')}/0?language=fr", headers={"Accept-Language": "nl"})
    assert french.json()["text"].startswith("Retenu. ")
    assert await looks(world) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_get_tells_the_result_and_nothing_of_the_person(world: Acme, method: str) -> None:
    message = await world.send({VERA: "SUPPRESSED_PURPOSE"})
    answer = await ask(world, f"/{message}/0", method=method)
    assert answer.status_code == 200 and await looks(world) == 0
    if method == "GET":
        told = answer.json()
        assert (told["reason_code"], told["explanation"]["rule"]) == ("SUPPRESSED_PURPOSE", "C1")
        assert told["explanation"]["remedy"] and told["text"].startswith("Kept out. ")
        assert not {"facts", "since", "until"} & set(told["explanation"])
        assert not {"today", "changed", "unknown"} & set(told)


async def test_what_was_decided_otherwise_then_says_what_holds_now(world: Acme) -> None:
    message = await world.send({VERA: "ALLOW_OPT_IN", KEES: "RECIPIENT_UNKNOWN"})
    told = (await ask(world, f"/{message}/0")).json()
    assert told["decision"] == "allow" and told["changed"]["explanation"]["code"] == "SUPPRESSED_PURPOSE"
    unknown = (await ask(world, f"/{message}/1")).json()
    assert unknown["reason_code"] == "RECIPIENT_UNKNOWN" and "changed" not in unknown


async def test_an_erased_person_leaves_a_result_without_facts(world: Acme) -> None:
    message = await world.send({VERA: "RECIPIENT_UNKNOWN"})
    keys = world.who(VERA).recipient_keys
    await world.store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=world.now, by="test"))
    told = (await ask(world, f"/{message}/0")).json()
    assert (told["unknown"], "today" in told, told["explanation"]["facts"]) == ("gone", False, [])
    assert world.store is not None and (await world.store.people([world.who(VERA)]))[0].seen is False


async def test_another_controllers_key_sees_nothing_and_a_key_needs_the_scope(world: Acme) -> None:
    message = await world.send({VERA: "RECIPIENT_UNKNOWN"})
    problem(await ask(world, f"/{message}/0", controller="other"), 404)
    problem(await ask(world, f"/{message}/0", "consents:write"), 403)
    for path in (f"/{message}/7", "/nonsense/0", "/01a200f5ddaf7667b8e8ce96c23f120a/0"):
        problem(await ask(world, path), 404)
    async with world.client() as client:
        problem(await client.get(f"/api/v1/decisions/{message}/0"), 401)


async def test_may_this_address_receive_a_stream_now(world: Acme) -> None:
    answer = await ask(world, "?language=en", json={"address": f" {VERA.upper()} ", "stream": "newsletter"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["stream"], told["decision"], told["reason_code"]) == (
        "newsletter",
        "block",
        "SUPPRESSED_PURPOSE",
    )
    stranger = (await ask(world, "", json={"address": "x@example.org", "stream": "newsletter"})).json()
    assert (stranger["reason_code"], stranger["explanation"]["rule"]) == ("RECIPIENT_UNKNOWN", "D8")
    no_address = (await ask(world, "", json={"address": "no address", "stream": "newsletter"})).json()
    assert no_address["reason_code"] == "RECIPIENT_INVALID"
    assert await looks(world) == 1
    assert not (await world.store.people([world.who("x@example.org")]))[0].seen
    assert all("example.org" not in route for route, _, _ in world.requests)


@pytest.mark.parametrize(("change", "field"), [
    ({"stream": "nothing"}, "stream"), ({"purpose": "nothing"}, "purpose"), ({"categories": ["x"]}, "categories"),
    ({"adress": "typo"}, "adress"), ({"address": 7}, "address"),
])  # fmt: skip
async def test_a_wrong_question_names_the_field_and_never_repeats_the_value(
    world: Acme, change: dict[str, Any], field: str
) -> None:
    asked = {"address": VERA, "stream": "newsletter", **change}
    said = problem(await ask(world, "", json=asked), 422)
    assert [fault["field"] for fault in said["errors"]] == [field]
    assert said["errors"][0]["remedy"] and VERA not in str(said)
