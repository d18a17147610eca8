"""What holds for every request: limits, proxies, header fields, and no word about what went wrong inside."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.web.edge import BODY_BYTES, label_of
from tests.acme import Acme, acme


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/staff/login", "/u/", "/nope", "/api/v1/openapi.json"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_every_answer_carries_the_strict_fields(world: Acme, path: str, method: str) -> None:
    async with world.client() as client:
        answer = await client.request(method, path)
    assert answer.status_code == (404 if path == "/nope" else 200)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert bool(answer.content) == (method == "GET")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/static/x.css", "/u", "/staff/nope"])
async def test_nothing_else_is_served(world: Acme, path: str) -> None:
    async with world.client() as client:
        answer = await client.get(path)
    assert answer.status_code in (307, 404)
    assert "script" not in answer.text


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/u/x"), ("DELETE", "/staff"), ("POST", "/healthz"), ("PATCH", "/o/x")]
)
async def test_other_methods_are_405_and_say_which_are_allowed(world: Acme, method: str, path: str) -> None:
    async with world.client() as client:
        answer = await client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]


async def test_the_style_sheet_may_be_kept_for_a_year(world: Acme) -> None:
    async with world.client() as client:
        page = await client.get("/staff/login")
        path = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
        style = await client.get(path)
    assert style.status_code == 200 and style.headers["content-type"].startswith("text/css")
    assert "immutable" in style.headers["cache-control"]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_body_that_is_too_long_is_refused(world: Acme, declared: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES // 1024 + 1):
            yield b"x" * 1024

    body = b"x" * (BODY_BYTES + 1) if declared else chunks()
    async with world.client() as client:
        fields = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post("/u/", content=body, headers=fields)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("peer", "forwarded", "sees"),
    [
        ("10.1.2.3", "127.0.0.1", 200),  # a trusted proxy says: somebody on this machine
        ("10.1.2.3", "8.8.4.4", 404),
        ("10.1.2.3", "127.0.0.1, 8.8.4.4", 404),  # the left part is what the client itself claimed
        ("10.1.2.3", "8.8.4.4, 10.1.9.9", 404),
        ("8.8.4.4", "127.0.0.1", 404),  # not a proxy of ours: not believed
        ("10.1.2.3", "nonsense", 200),  # the proxy itself is in a private network
        ("127.0.0.1", "", 200),
        ("2a00:1450::1", "::1", 404),
    ],
)
async def test_only_a_trusted_proxy_is_believed(world: Acme, peer: str, forwarded: str, sees: int) -> None:
    async with world.client(host=peer) as client:
        answer = await client.get("/metrics", headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == sees


async def test_what_goes_wrong_inside_is_not_told(world: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret of bob@example.org")

    client = await world.signed_in("mara", "marketer")
    monkeypatch.setattr(world.store, "tallies", broken)
    answer = await client.get("/staff")
    assert answer.status_code == 503
    assert "secret" not in answer.text and "RuntimeError" not in answer.text
    assert "Dit lukt nu even niet" in answer.text


async def test_the_root_leads_to_the_staff_pages(world: Acme) -> None:
    async with world.client() as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/staff")


async def test_requests_side_by_side_do_not_mix(world: Acme) -> None:
    async with world.client() as client:
        paths = ["/healthz", "/u/kapot", "/nope", "/staff/login"] * 5
        answers: list[httpx.Response] = [await client.get(path) for path in paths]
    assert [a.status_code for a in answers] == [200, 404, 404, 200] * 5


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/u/abc", "u"), ("/o/abc", "o"), ("/staff", "staff"), ("/staff/blocked", "staff/blocked"),
        ("/staff/captured/acme/x", "staff/captured"), ("/staff/anna@example.org", "staff"), ("/anna", "other"),
        ("/", "other"), ("", "other"), ("/staff/averyveryverylongname", "staff"),
    ],
)  # fmt: skip
def test_a_label_holds_nothing_of_a_person(path: str, label: str) -> None:
    assert label_of(path) == label
