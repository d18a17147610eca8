"""The one outbound HTTP client, against servers with real certificates: what it calls, and what it never does."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence

import pytest
import trustme

from gateway.outbound.http_client import MOST, HttpClient, HttpFailed, Resolve
from gateway.tools.dialogue import Request
from gateway.tools.reach import Peer
from tests.endpoints import Endpoint, Reply

HERE = Peer(host="127.0.0.1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def names(*answers: Sequence[str]) -> Resolve:
    """A name server that gives one answer after the other, its last for ever."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.fixture
async def client(context: ssl.SSLContext) -> AsyncIterator[HttpClient]:
    made = HttpClient(context, agent="consentgate/test")
    yield made
    made.close()


async def failing(client: HttpClient, url: str, *peers: Peer) -> str:
    with pytest.raises(HttpFailed) as failed:
        await client.send(Request(method="POST", url=url, body=b"x"), peers)
    return failed.value.kind


async def test_a_request_arrives_whole_and_its_answer_comes_back(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, [Reply(status=202, body=b'{"a":1}', headers={"Retry-After": "7"})]) as server:
        request = Request(method="POST", url=server.url("/hook?a=b"), headers=(("X-One", "1"),), body=b"tell")
        answer = await client.send(request, [Peer(host="localhost"), HERE])
    [call] = server.calls
    assert (call.method, call.target, call.body) == ("POST", "/hook?a=b", b"tell")
    assert call.headers["host"] == f"localhost:{server.port}"
    assert call.headers["user-agent"] == "consentgate/test"
    assert call.headers["x-one"] == "1"
    assert "cookie" not in call.headers
    assert (answer.status, answer.json(), answer.headers["retry-after"]) == (202, {"a": 1}, "7")


async def test_an_address_is_called_by_its_own_certificate(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, name="127.0.0.1") as server:
        assert (await client.send(Request(method="GET", url=server.url("/")), [HERE])).status == 200


async def test_a_host_that_is_not_listed_is_not_called(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority) as server:
        assert await failing(client, server.url("/"), Peer(host="lists.shop.example"), HERE) == "not_allowed"
        assert await failing(client, server.url("/").replace("https", "http"), Peer(host="localhost")) == "not_allowed"
    assert server.calls == []


async def test_a_listed_name_that_leads_inside_is_not_followed(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority) as server:
        assert await failing(client, server.url("/"), Peer(host="localhost")) == "inside"
    assert server.calls == []


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
async def test_one_address_inside_is_enough_to_refuse(context: ssl.SSLContext, bad: str) -> None:
    client = HttpClient(context, agent="t", resolve=names(["93.184.216.34", bad]), seconds=5)
    assert await failing(client, "https://lists.shop.example/", Peer(host="lists.shop.example")) == "inside"


async def test_a_name_that_changes_after_the_look_changes_nothing(
    authority: trustme.CA, context: ssl.SSLContext
) -> None:
    """DNS rebinding: the first answer is looked at and connected to; the second one, inside, is never asked for."""
    with Endpoint(authority, name="lists.shop.example") as good, Endpoint(authority, name="lists.shop.example") as evil:
        asked = []

        async def resolve(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        client = HttpClient(context, agent="t", resolve=resolve)
        peers = [Peer(host="lists.shop.example"), HERE]
        assert (await client.send(Request(method="GET", url=good.url("/")), peers)).status == 200
        assert asked == ["lists.shop.example"]
        assert await failing(client, evil.url("/"), *peers) == "inside"
    assert evil.calls == []


async def test_the_certificate_has_to_name_the_host(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, name="other.example") as server:
        url = f"https://localhost:{server.port}/"
        assert await failing(client, url, Peer(host="localhost"), HERE) == "tls"
    with Endpoint(trustme.CA()) as server:
        assert await failing(client, server.url("/"), Peer(host="localhost"), HERE) == "tls"
    assert server.calls == []


async def test_a_redirect_is_an_answer_like_any_other(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority) as other:
        moved = Reply(status=302, headers={"Location": other.url("/elsewhere")})
        with Endpoint(authority, [moved]) as server:
            answer = await client.send(Request(method="POST", url=server.url("/")), [Peer(host="localhost"), HERE])
        assert answer.status == 302
        assert other.calls == []


async def test_a_huge_answer_is_cut_off(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, [Reply(body=b"x" * 3_000_000)]) as server:
        answer = await client.send(Request(method="GET", url=server.url("/")), [Peer(host="localhost"), HERE])
    assert (answer.cut, len(answer.body)) == (True, MOST)


async def test_huge_head_and_what_is_no_http_are_refused(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, [Reply(headers={"X": "y" * 200_000})]) as server:
        assert await failing(client, server.url("/"), Peer(host="localhost"), HERE) == "protocol"

    async def rubbish(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def hints(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Interim answers without end, and never the one that counts."""
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
                await writer.drain()

    for speak, kind in ((rubbish, "protocol"), (silent, "lost"), (hints, "protocol")):
        async with await asyncio.start_server(speak, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            plain = Peer(host="127.0.0.1", port=port, plain=True)
            assert await failing(client, f"http://127.0.0.1:{port}/", plain) == kind


async def test_a_slow_server_and_a_slow_name_server_have_an_end(authority: trustme.CA, context: ssl.SSLContext) -> None:
    with Endpoint(authority, [Reply(stall=True)]) as server:
        client = HttpClient(context, agent="t", resolve=names(["127.0.0.1"]), seconds=0.5)
        assert await failing(client, server.url("/"), Peer(host="localhost"), HERE) == "timeout"
    assert len(server.calls) == 1

    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    client = HttpClient(context, agent="t", resolve=never, seconds=0.1)
    assert await failing(client, "https://lists.shop.example/", Peer(host="lists.shop.example")) == "timeout"


async def test_nobody_there_and_no_such_name(context: ssl.SSLContext, client: HttpClient) -> None:
    with Endpoint(None) as server:
        port = server.port
    assert await failing(client, f"https://localhost:{port}/", Peer(host="localhost"), HERE) == "unreachable"
    assert await failing(client, "https://nowhere.invalid/", Peer(host="nowhere.invalid")) == "dns"


async def test_a_proxy_in_the_environment_is_not_heeded(
    authority: trustme.CA, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Endpoint(None) as proxy, Endpoint(authority) as server:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        answer = await client.send(Request(method="GET", url=server.url("/")), [Peer(host="localhost"), HERE])
        assert (answer.status, proxy.calls) == (200, [])


async def test_what_failed_names_neither_address_nor_person(client: HttpClient) -> None:
    url = "https://nowhere.invalid/unsubscribe?email=anna@example.org"
    with pytest.raises(HttpFailed) as failed:
        await client.send(Request(method="POST", url=url), [Peer(host="nowhere.invalid")])
    assert "anna" not in str(failed.value) and "anna" not in repr(Request(method="POST", url=url))
