"""listmonk, Mautic and Mailchimp are told through servers that keep people and answer as those tools do."""

import base64
import hashlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

from gateway.outbound.http_client import HttpClient
from gateway.tools import listmonk, mailchimp, mautic
from gateway.tools.dialogue import Dialogue, Verdict
from gateway.tools.reach import Peer
from gateway.write_back import converse
from tests.endpoints import Call, Endpoint, Reply

PEERS = (Peer(host="localhost"), Peer(host="127.0.0.1"))
BRIEN = "o'brien@example.org"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def client(authority: trustme.CA) -> AsyncIterator[HttpClient]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    made = HttpClient(context, agent="consentgate/test")
    yield made
    made.close()


async def said(client: HttpClient, dialogue: Dialogue) -> tuple[str, str]:
    verdict: Verdict = await converse(client, dialogue, PEERS)
    return verdict.outcome, verdict.note


def logged_in(call: Call, username: str, password: str) -> bool:
    return call.headers.get("authorization") == "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@dataclass
class Listmonk:
    """Subscribers by number: address, status, and lists with the status there. `sql`: the user may query."""

    people: dict[int, dict[str, Any]] = field(default_factory=dict)
    sql: bool = True

    def add(self, number: int, address: str, *lists: int) -> None:
        self.people[number] = {"email": address, "status": "enabled", "lists": dict.fromkeys(lists, "confirmed")}

    def __call__(self, call: Call) -> Any:
        if not logged_in(call, "api", "token"):
            return 403, {"message": "invalid API credentials"}
        if call.method == "GET" and call.path == "/api/subscribers":
            return self._found(call)
        if call.method == "PUT" and call.path == "/api/subscribers/lists":
            for number in call.json["ids"]:
                for one in call.json["target_list_ids"]:
                    assert call.json["action"] == "unsubscribe"
                    self.people[number]["lists"][one] = "unsubscribed"
            return 200, {"data": True}
        if found := re.fullmatch(r"/api/subscribers/(\d+)(/blocklist)?", call.path):
            if call.method == "DELETE":
                del self.people[int(found[1])]
            else:
                assert (call.method, found[2]) == ("PUT", "/blocklist")
                self.people[int(found[1])]["status"] = "blocklisted"
            return 200, {"data": True}
        return 404, {"message": "not found"}

    def _found(self, call: Call) -> Any:
        if "query" in call.query:
            if not self.sql:
                return 403, {"message": "permission denied: subscribers:sql_query"}
            found = re.fullmatch(r"subscribers\.email = '((?:[^']|'')*)'", call.query["query"][0])
            assert found, call.query["query"]
            wanted = found[1].replace("''", "'")
            some = [number for number, one in self.people.items() if one["email"] == wanted]
        else:
            some = [number for number, one in self.people.items() if call.query["search"][0] in one["email"]]
        results = [{"id": number, **self.people[number]} for number in some]
        return 200, {"data": {"results": results, "total": len(results)}}


@pytest.mark.parametrize("sql", [True, False])
async def test_listmonk_blocklists_unsubscribes_and_deletes(
    authority: trustme.CA, client: HttpClient, *, sql: bool
) -> None:
    tool = Listmonk(sql=sql)
    tool.add(1, "not-" + BRIEN, 3, 4)
    tool.add(7, BRIEN, 3, 4)
    with Endpoint(authority, [tool]) as server:
        base = server.url("")
        assert await said(client, listmonk.stop(base, "api", "token", BRIEN, lists=["3"])) == ("done", "unsubscribed")
        assert tool.people[7] == {
            "email": BRIEN, "status": "enabled", "lists": {3: "unsubscribed", 4: "confirmed"}
        }  # fmt: skip
        assert await said(client, listmonk.stop(base, "api", "token", BRIEN, lists=None)) == ("done", "blocklisted")
        assert tool.people[7]["status"] == "blocklisted"
        gone = listmonk.stop(base, "api", "token", BRIEN, lists=None, delete=True)
        assert await said(client, gone) == ("done", "deleted")
        assert await said(client, listmonk.stop(base, "api", "token", BRIEN, lists=None)) == ("done", "not there")
    assert tool.people == {
        1: {"email": "not-" + BRIEN, "status": "enabled", "lists": {3: "confirmed", 4: "confirmed"}}
    }  # fmt: skip


async def test_what_is_no_listmonk_is_tried_again(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, [Listmonk()]) as server:
        assert await said(client, listmonk.stop(server.url(""), "api", "wrong", BRIEN, lists=None)) == ("later", "403")
        assert await said(client, listmonk.probe(server.url(""), "api", "wrong")) == ("later", "403")
    with Endpoint(authority, [Reply(body=b"<html>Welcome</html>"), (200, {"data": []}), 502]) as server:
        for outcome in ("not an answer of listmonk", "not an answer of listmonk", "502"):
            dialogue = listmonk.stop(server.url(""), "api", "token", BRIEN, lists=None)
            assert await said(client, dialogue) == ("later", outcome)


async def test_a_search_that_finds_too_many_is_not_taken_for_nobody(authority: trustme.CA, client: HttpClient) -> None:
    tool = Listmonk(sql=False)
    for number in range(1, 51):
        tool.add(number, f"x{number}-a@example.org")
    with Endpoint(authority, [tool]) as server:
        dialogue = listmonk.stop(server.url(""), "api", "token", "a@example.org", lists=None)
        assert (await said(client, dialogue))[0] == "later"


@dataclass
class Mautic:
    """Contacts by number; `flat`: fields as the list of all, as the API answers from version to version."""

    people: dict[int, str] = field(default_factory=dict)
    quiet: dict[int, int] = field(default_factory=dict)
    segments: dict[int, set[str]] = field(default_factory=dict)
    flat: bool = False

    def __call__(self, call: Call) -> Any:
        if not logged_in(call, "api", "token"):
            return 401, {"errors": [{"code": 401, "message": "API authorization denied."}]}
        if call.method == "GET":
            assert call.path == "/api/contacts"
            wanted = call.query.get("where[0][val]")
            found = {str(n): self._shown(n) for n, one in self.people.items() if wanted is None or one == wanted[0]}
            return 200, {"total": str(len(found)), "contacts": found or []}
        if found_ := re.fullmatch(r"/api/contacts/(\d+)/dnc/email/add", call.path):
            self.quiet[int(found_[1])] = int(call.body.decode().partition("reason=")[2].partition("&")[0])
            return 200, {"contact": {}}
        if found_ := re.fullmatch(r"/api/segments/(\d+)/contact/(\d+)/remove", call.path):
            self.segments[int(found_[2])].discard(found_[1])
            return 200, {"success": 1}
        found_ = re.fullmatch(r"/api/contacts/(\d+)/delete", call.path)
        assert found_ and call.method == "DELETE"
        del self.people[int(found_[1])]
        return 200, {"contact": {}}

    def _shown(self, number: int) -> dict[str, Any]:
        address = self.people[number]
        fields = {"all": {"email": address}} if self.flat else {"core": {"email": {"value": address}}}
        return {"id": number, "fields": fields}


@pytest.mark.parametrize("flat", [True, False])
async def test_mautic_does_not_contact_removes_and_deletes(
    authority: trustme.CA, client: HttpClient, *, flat: bool
) -> None:
    tool = Mautic(
        people={3: BRIEN, 4: "other@example.org", 9: BRIEN}, segments={3: {"5", "6"}, 4: {"5"}, 9: {"5"}}, flat=flat
    )
    with Endpoint(authority, [tool]) as server:
        base = server.url("")
        done = mautic.stop(base, "api", "token", BRIEN, segments=["5"])
        assert await said(client, done) == ("done", "removed")
        assert (tool.segments, tool.quiet) == ({3: {"6"}, 4: {"5"}, 9: set()}, {})
        quiet = mautic.stop(base, "api", "token", BRIEN, segments=None)
        assert await said(client, quiet) == ("done", "do not contact")
        assert tool.quiet == {3: 1, 9: 1}
        gone = mautic.stop(base, "api", "token", BRIEN, segments=None, delete=True)
        assert await said(client, gone) == ("done", "deleted")
        assert tool.people == {4: "other@example.org"}
        again = mautic.stop(base, "api", "token", BRIEN, segments=None)
        assert await said(client, again) == ("done", "not there")
        assert await said(client, mautic.probe(base, "api", "wrong")) == ("later", "401")
        assert await said(client, mautic.probe(base, "api", "token")) == ("done", "may read contacts")


@dataclass
class Mailchimp:
    """Members of audiences by the hash of their address."""

    members: dict[tuple[str, str], str]

    def __call__(self, call: Call) -> Any:
        if not (call.headers.get("authorization") or "").endswith(base64.b64encode(b"consentgate:key-us1").decode()):
            return 401, {"title": "API Key Invalid"}
        if call.path == "/3.0/ping":
            return 200, {"health_status": "Everything's Chimpy!"}
        found = re.fullmatch(r"/3\.0/lists/(\w+)/members/([0-9a-f]{32})(/actions/delete-permanent)?", call.path)
        assert found, call.path
        place = (found[1], found[2])
        if place not in self.members:
            return 404, {"title": "Resource Not Found"}
        if found[3]:
            assert call.method == "POST"
            del self.members[place]
            return Reply(status=204)
        assert call.method == "PATCH"
        self.members[place] = call.json["status"]
        return 200, {"status": self.members[place]}


async def test_mailchimp_unsubscribes_where_somebody_is_and_adds_nobody(
    authority: trustme.CA, client: HttpClient
) -> None:
    member = hashlib.md5(BRIEN.encode()).hexdigest()
    tool = Mailchimp({("aa11", member): "subscribed", ("cc33", member): "cleaned"})
    with Endpoint(authority, [tool]) as server:
        base = server.url("/3.0")
        one = mailchimp.stop(base, "key-us1", BRIEN.upper(), audiences=["bb22", "aa11"])
        assert await said(client, one) == ("done", "unsubscribed")
        assert tool.members == {("aa11", member): "unsubscribed", ("cc33", member): "cleaned"}
        every = mailchimp.stop(base, "key-us1", BRIEN, audiences=["aa11", "bb22", "cc33"], delete=True)
        assert await said(client, every) == ("done", "deleted")
        assert tool.members == {}
        nobody = mailchimp.stop(base, "key-us1", BRIEN, audiences=["aa11"])
        assert await said(client, nobody) == ("done", "not there")
        assert await said(client, mailchimp.probe(base, "wrong")) == ("later", "401")
        assert await said(client, mailchimp.probe(base, "key-us1")) == ("done", "the key is good")


async def test_a_page_with_200_is_no_word_of_the_tool(authority: trustme.CA, client: HttpClient) -> None:
    """As a proxy or a login before it answers; errors in an answer of 200 likewise, and JSON without a bottom."""
    lies = [
        Reply(body=b"<html>Sign in</html>"), (200, {"errors": [{"code": 500}]}), Reply(body=b"[" * 50_000), Reply(),
    ]  # fmt: skip
    found = {"data": {"results": [{"id": 7, "email": BRIEN}]}}
    contact = {"contacts": [{"id": 3, "fields": {"all": {"email": BRIEN}}}]}
    for lie in lies:
        with Endpoint(authority, [lie]) as server:
            base = server.url("")
            for dialogue in (
                mailchimp.stop(base, "key-us1", BRIEN, audiences=["aa11"]), mailchimp.probe(base, "key-us1"),
                listmonk.probe(base, "api", "token"), mautic.probe(base, "api", "token"),
                listmonk.stop(base, "api", "token", BRIEN, lists=None),
                mautic.stop(base, "api", "token", BRIEN, segments=None),
            ):  # fmt: skip
                assert (await said(client, dialogue))[0] == "later"
        with Endpoint(authority, [(200, found), lie]) as server:
            assert (await said(client, listmonk.stop(server.url(""), "api", "token", BRIEN, lists=None)))[0] == "later"
        with Endpoint(authority, [(200, contact), lie]) as server:
            quiet = mautic.stop(server.url(""), "api", "token", BRIEN, segments=None)
            assert (await said(client, quiet))[0] == "later"


async def test_a_tool_that_asks_to_wait_is_waited_for(authority: trustme.CA, client: HttpClient) -> None:
    with Endpoint(authority, [Reply(status=429, headers={"Retry-After": "900"})]) as server:
        dialogue = mailchimp.stop(server.url("/3.0"), "key-us1", BRIEN, audiences=["aa11"])
        verdict = await converse(client, dialogue, PEERS)
    assert (verdict.outcome, verdict.note, verdict.after) == ("later", "429", 900)
