"""Write-back jobs: made with what they tell of, held by one worker, and gone with what they say."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from gateway.store.columns import milliseconds
from gateway.store.contract import Act, SuppressionRow
from gateway.store.evidence import Erasure
from gateway.store.sql_store import SqlStore
from gateway.store.telling import EVERY, KEPT_FOR, LEASE, ONE_CLICK, TOLD_KEPT_FOR, Job, JobEnd, State, Target, ToolLink
from gateway.tools.dialogue import Verdict
from gateway.write_back import WriteBack
from tests.store.places import Place
from tests.store.test_contract import BLOCK, NOW, Home, stop

ANNA = "anna@example.org"
CRM = Target(name="webhook/crm", host="crm.example:443", events=EVERY)
LISTS = Target(name="listmonk/main", host="lists.example:443", purposes=frozenset(("newsletter",)))
PARTNER = Target(
    name="webhook/partner", host="partner.example:443", streams=frozenset(("offers",)), terse=True,
    events=frozenset(("opt_out.recorded",)),
)  # fmt: skip


@pytest.fixture
def home(place: Place) -> Home:
    return Home(place)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        opened.tell({"acme": (CRM, LISTS, PARTNER)})
        yield opened


async def jobs(store: SqlStore, worker: str = "w1", **later: int) -> list[Job]:
    """All jobs that are due, held by a worker."""
    now = NOW + timedelta(**later)
    found = []
    for host in await store.write_backs_due(now):
        found += await store.claim_write_backs(worker, host, now=now, n=100)
    return found


def rows(home: Home, what: str) -> list[Any]:
    return home.ask(what)


async def ended(store: SqlStore, job: Job, state: State = "done", worker: str = "w1") -> None:
    await store.end_write_back(worker, JobEnd(
        controller_id="acme", job_id=job.job_id, attempts=job.attempts, state=state, said="200", at=NOW,
    ))  # fmt: skip


async def test_an_opt_out_brings_a_job_for_each_target_that_it_concerns(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    acts, row = stop(home, ANNA)
    await store.opt_out(acts, row, None)
    held = {job.target: job for job in await jobs(store)}
    assert set(held) == {"webhook/crm", "listmonk/main"}
    assert held["webhook/crm"].content == {
        "address": ANNA, "scope": "purpose", "purpose": "newsletter", "reason": "unsubscribe", "source": "one-click",
        "at": "2026-11-21T10:00:00Z", "ref": row.suppression_id.hex(),
    }  # fmt: skip
    assert ANNA not in repr(held)


async def test_an_opt_out_of_another_purpose_is_not_told_to_a_tool_of_one(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    await store.opt_out(*stop(home, ANNA, "events"), None)
    assert [job.target for job in await jobs(store)] == ["webhook/crm"]


async def test_the_same_opt_out_again_is_told_once(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    for _ in range(3):
        await store.opt_out(*stop(home, ANNA), None)
    assert len(await jobs(store)) == 2


async def test_nobody_is_told_of_somebody_without_an_address(home: Home, store: SqlStore) -> None:
    await store.opt_out(*stop(home, ANNA), None)
    assert await jobs(store) == []
    acts, row = stop(home, "bob@example.org", None)
    await store.opt_out(acts, replace(row, address="bob@example.org"), None)
    assert [job.content and job.content["address"] for job in await jobs(store)] == ["bob@example.org"] * 2


async def test_another_company_hears_only_of_whom_its_offers_were_sent_to(home: Home, store: SqlStore) -> None:
    """RULES.md 5.2.10, and no more than it needs: address and time."""
    await store.enqueue(home.arrival(ANNA, stream="offers"), home.arrival("bob@example.org"))
    await store.opt_out(*stop(home, "bob@example.org", None), None)
    assert "webhook/partner" not in {job.target for job in await jobs(store)}
    await store.opt_out(*stop(home, ANNA, None), None)
    [told] = [job for job in await jobs(store) if job.target == "webhook/partner"]
    assert told.content == {"address": ANNA, "at": "2026-11-21T10:00:00Z"}


async def test_the_tools_own_address_is_called_for_the_purpose_of_its_mail(home: Home, store: SqlStore) -> None:
    def link(purpose: str, url: str) -> ToolLink:
        return ToolLink(purpose=purpose, host="tool.example:443", url=url)

    await store.enqueue(
        home.arrival(ANNA, link=link("newsletter", "https://tool.example/old")),
        home.arrival(ANNA, link=link("newsletter", "https://tool.example/new")),
        home.arrival(ANNA, link=link("events", "https://tool.example/events")),
        home.arrival(ANNA, "bob@example.org", link=link("events", "https://tool.example/whose")),
    )
    assert rows(home, "SELECT count(*) FROM tool_links") == [(2,)]
    await store.opt_out(*stop(home, ANNA), None)
    clicked = [job for job in await jobs(store) if job.target == ONE_CLICK]
    assert [job.content and job.content["url"] for job in clicked] == ["https://tool.example/new"]
    await store.opt_out(*stop(home, ANNA, None), None)
    clicked = [job for job in await jobs(store) if job.target == ONE_CLICK]
    assert {job.content["url"] for job in clicked if job.content} == {
        "https://tool.example/new", "https://tool.example/events"
    }  # fmt: skip


async def test_a_job_is_held_by_one_worker_until_its_lease_runs_out(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    await store.opt_out(*stop(home, ANNA), None)
    [first, _] = await jobs(store)
    assert await jobs(store, "w2") == []
    late = [job for job in await jobs(store, "w2", seconds=LEASE.seconds + 1) if job.job_id == first.job_id]
    assert [job.attempts for job in late] == [2]
    await ended(store, first)
    assert {row.state for row in await store.write_backs("acme", state=None, n=9)} == {"waiting"}
    await ended(store, late[0], worker="w2")
    assert len(await store.write_backs("acme", state="done", n=9)) == 1


async def test_a_worker_that_comes_back_takes_its_own_at_once(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    await store.opt_out(*stop(home, ANNA), None)
    assert len(await jobs(store)) == 2
    assert await store.take_back_write_backs("w2", NOW) == 0
    assert await store.take_back_write_backs("w1", NOW) == 2
    assert len(await jobs(store)) == 2


async def test_tools_are_told_though_the_clock_was_ahead_when_it_was_written_down(home: Home, store: SqlStore) -> None:
    """A job that was never tried, one that was put off, and one that waits as it should."""
    await store.record([home.consent(ANNA)])
    await store.opt_out(*stop(home, ANNA), None)
    fresh, put_off = [job.job_id for job in await jobs(store)]
    ahead = NOW + timedelta(days=2)
    with_times = "UPDATE write_backs SET due_at = ?, at = ?, attempts = ? WHERE job_id = ? RETURNING 1"
    home.ask(with_times, milliseconds(ahead), milliseconds(ahead), 0, fresh)
    home.ask(with_times, milliseconds(ahead + timedelta(minutes=1)), milliseconds(NOW), 1, put_off)
    assert await jobs(store) == []
    await store.redate(NOW)
    assert {job.job_id for job in await jobs(store)} == {fresh, put_off}
    home.ask(with_times, milliseconds(NOW + timedelta(hours=24)), milliseconds(NOW), 9, put_off)
    await store.redate(NOW)
    assert put_off not in {job.job_id for job in await jobs(store)}


async def test_nothing_is_given_up_by_a_clock_that_is_not_believed(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    await store.opt_out(*stop(home, ANNA), None)
    [job, _] = await jobs(store)
    late = NOW + timedelta(days=365)
    for believed, state in ((False, "waiting"), (True, "failed")):
        work = WriteBack(store, worker="w1", clock=lambda: late, believed=partial(bool, believed))
        assert work._end(job, Verdict(outcome="later", note="503")).state == state


async def test_an_opt_out_that_is_lifted_before_anybody_heard_is_told_to_nobody(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    acts, row = stop(home, ANNA)
    await store.opt_out(acts, row, None)
    assert await store.lift([acts[0]], replace(row, lifted_at=NOW + timedelta(minutes=1)))
    assert await jobs(store) == []
    assert {one.state for one in await store.write_backs("acme", state=None, n=9)} == {"dropped"}


async def test_whoever_heard_of_an_opt_out_hears_that_it_was_lifted(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    acts, row = stop(home, ANNA)
    await store.opt_out(acts, row, None)
    for job in await jobs(store):
        await ended(store, job)
    await store.lift([acts[0]], replace(row, lifted_at=NOW + timedelta(minutes=1)))
    [told] = await jobs(store, minutes=2)
    assert (told.target, told.event) == ("webhook/crm", "opt_out.lifted")


async def test_what_is_told_is_sealed_and_forgotten_once_it_is_told(home: Home, store: SqlStore) -> None:
    await store.enqueue(
        home.arrival(ANNA, link=ToolLink(purpose="newsletter", host="tool.example:443", url="https://tool.example/x1"))
    )
    await store.opt_out(*stop(home, ANNA), None)
    kept = b"".join(value for row in rows(home, "SELECT content FROM write_backs") for value in row)
    kept += b"".join(value for row in rows(home, "SELECT link FROM tool_links") for value in row)
    assert ANNA.encode() not in kept and b"tool.example" not in kept
    for job in await jobs(store):
        await ended(store, job)
    assert rows(home, "SELECT DISTINCT content FROM write_backs") == [(None,)]
    told = ["crm.example:443", "lists.example:443", "tool.example:443"]
    assert await store.hosts_told("acme", home.key(ANNA)) == told  # the person may ask (GDPR art. 15, 19)
    assert await store.hosts_told("acme", home.key("bob@example.org")) == []
    await store.sweep_write_backs(NOW + TOLD_KEPT_FOR - timedelta(days=1), 100)
    assert await store.hosts_told("acme", home.key(ANNA)) == told
    assert await store.sweep_write_backs(NOW + TOLD_KEPT_FOR + timedelta(days=1), 100) == 3
    assert await store.hosts_told("acme", home.key(ANNA)) == []


async def test_who_was_told_of_an_erasure_is_forgotten_as_before(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    await store.erase(erasure(home, ANNA))
    for job in await jobs(store):
        await ended(store, job)
    await store.sweep_write_backs(NOW + KEPT_FOR + timedelta(seconds=1), 100)
    assert rows(home, "SELECT count(*) FROM write_backs") == [(0,)]


def erasure(home: Home, address: str) -> Erasure:
    return Erasure(
        controller_id="acme", recipient_keys=home.who(address).recipient_keys, at=NOW, by="x", address=address
    )


def secrets(home: Home) -> int:
    sql = "SELECT count(*) FROM person_keys WHERE substr(recipient_key, 1, 16) = ?"
    [(found,)] = home.ask(sql, home.key(ANNA), of="keys")
    return int(found)


async def test_an_erasure_is_told_to_everybody_and_then_nothing_can_be_read(home: Home, store: SqlStore) -> None:
    """GDPR art. 17 and 19: who has the data is told, and the key of what was told goes with the last of it."""
    await store.enqueue(
        home.arrival(ANNA, link=ToolLink(purpose="newsletter", host="tool.example:443", url="https://tool.example/x1"))
    )
    await store.opt_out(*stop(home, ANNA), None)
    await store.erase(erasure(home, ANNA))
    assert secrets(home) == 1  # what is still to be said has a key of its own
    assert rows(home, "SELECT count(*) FROM tool_links") == [(0,)]
    held = await jobs(store)
    assert sorted((job.target, job.event) for job in held) == [
        ("listmonk/main", "opt_out.recorded"), ("listmonk/main", "person.erased"),
        ("one-click", "opt_out.recorded"), ("one-click", "person.erased"),
        ("webhook/crm", "opt_out.recorded"), ("webhook/crm", "person.erased"),
    ]  # fmt: skip
    assert all(job.content is not None for job in held)
    for job in held[:-1]:
        await ended(store, job)
    assert secrets(home) == 1
    await ended(store, held[-1])
    assert secrets(home) == 0
    assert rows(home, "SELECT DISTINCT content FROM write_backs") == [(None,)]


async def test_what_cannot_be_said_of_an_erased_person_goes_when_it_is_dropped_or_old(
    home: Home, store: SqlStore
) -> None:
    await store.record([home.consent(ANNA)])
    await store.erase(erasure(home, ANNA))
    for job in await jobs(store):
        await ended(store, job, "failed")
    assert secrets(home) == 1
    assert await store.change_write_backs("acme", job_id=None, target="webhook/crm", to="waiting", now=NOW) == 1
    assert [job.content and job.content["address"] for job in await jobs(store)] == [ANNA]
    assert await store.change_write_backs("acme", job_id=None, target="webhook/crm", to="dropped", now=NOW) == 1
    assert secrets(home) == 1
    assert await store.sweep_write_backs(NOW + KEPT_FOR + timedelta(seconds=1), 100) == 2
    assert secrets(home) == 0
    assert rows(home, "SELECT count(*) FROM write_backs") == [(0,)]


async def test_somebody_nobody_here_knows_is_erased_elsewhere_too(home: Home, store: SqlStore) -> None:
    await store.erase(erasure(home, "stranger@example.org"))
    assert {(job.target, job.event) for job in await jobs(store)} == {
        ("webhook/crm", "person.erased"), ("listmonk/main", "person.erased")
    }  # fmt: skip


async def test_corrections_and_restrictions_are_told_to_endpoints_alone(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    act = Act(
        controller_id="acme", recipient_key=home.key(ANNA), kind="rectification", public={"by": "desk"},
        private={"changed": {"language": "fr"}, "was": {}}, at=NOW,
    )  # fmt: skip
    await store.record([act])
    [job] = await jobs(store)
    assert (job.target, job.event) == ("webhook/crm", "person.rectified")
    assert job.content == {"address": ANNA, "at": "2026-11-21T10:00:00Z", "changed": {"language": "fr"}}


async def test_without_targets_nothing_is_kept(home: Home) -> None:
    async with home.opened() as store:
        await store.record([home.consent(ANNA)])
        await store.opt_out(*stop(home, ANNA), None)
        await store.erase(erasure(home, ANNA))
    assert rows(home, "SELECT count(*) FROM write_backs") == [(0,)]
    assert secrets(home) == 0


async def test_drift_is_counted_from_decisions_made_after_the_opt_out(home: Home, store: SqlStore) -> None:
    """A tool that goes on mailing people who had opted out, before and after it was told."""
    out = replace(BLOCK, reason_code="SUPPRESSED_PURPOSE")

    def mail(*to: str, hours: int, login: str = "news", decision: Any = out) -> Any:
        at = NOW + timedelta(hours=hours)
        made = home.arrival(*to, at=at, login=login, decision=decision, state="blocked", body=None)
        copies = [replace(copy, ruling=replace(copy.ruling, as_of=at)) for copy in made.copies]
        return replace(made, copies=copies)

    await store.record([home.consent(ANNA)])
    await store.opt_out(*stop(home, ANNA), None)
    await store.enqueue(mail(ANNA, "bob@example.org", hours=1), mail(ANNA, hours=1, decision=BLOCK))
    for job in await jobs(store):
        await store.end_write_back("w1", JobEnd(
            controller_id="acme", job_id=job.job_id, attempts=job.attempts, state="done", said="200",
            at=NOW + timedelta(hours=2),
        ))  # fmt: skip
    await store.enqueue(mail(ANNA, hours=3), mail(ANNA, hours=4), mail("bob@example.org", hours=4, login="shop"))
    news, shop = await store.drift("acme", since=NOW)
    assert (news.login, news.tried, news.people, news.told, news.told_people) == ("news", 4, 2, 2, 1)
    assert (shop.login, shop.tried, shop.people, shop.told) == ("shop", 1, 1, 0)
    assert news.last_at == NOW + timedelta(hours=4)
    assert await store.drift("acme", since=NOW + timedelta(hours=9)) == []
    assert await store.drift("globex", since=NOW) == []


async def test_one_dead_host_with_many_jobs_hides_no_other(home: Home, store: SqlStore) -> None:
    def row_of(n: int) -> tuple[list[Act], SuppressionRow]:
        return stop(home, f"p{n}@example.org", None)

    await store.record([home.consent(f"p{n}@example.org", id=f"c{n}") for n in range(30)])
    for n in range(30):
        await store.opt_out(*row_of(n), None)
    assert await store.write_backs_due(NOW) == ["crm.example:443", "lists.example:443"]
    held = await store.claim_write_backs("w1", "crm.example:443", now=NOW, n=2)
    assert [job.host for job in held] == ["crm.example:443"] * 2
    assert await store.write_backs_due(NOW - timedelta(seconds=1)) == []


async def test_a_tool_that_mails_somebody_who_opted_out_is_told_once_a_week(home: Home, store: SqlStore) -> None:
    """Also where the opt-out came before anybody knew the tool's address."""
    out = replace(BLOCK, reason_code="SUPPRESSED_PURPOSE")
    link = ToolLink(purpose="newsletter", host="tool.example:443", url="https://tool.example/x1")

    async def mailed(**later: int) -> list[Job]:
        at = NOW + timedelta(**later)
        await store.enqueue(home.arrival(ANNA, at=at, decision=out, state="blocked", body=None, link=link))
        found = await jobs(store, **later)
        for job in found:
            await ended(store, job)
        return found

    assert [job.target for job in await mailed(hours=1)] == [ONE_CLICK]
    assert await mailed(hours=2) == []
    assert [job.content and job.content["url"] for job in await mailed(days=8)] == ["https://tool.example/x1"]


async def test_of_whoever_is_erased_no_address_of_a_tool_is_kept(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(ANNA)])
    await store.erase(erasure(home, ANNA))
    out = replace(BLOCK, reason_code="ERASED_DO_NOT_CONTACT")
    link = ToolLink(purpose="newsletter", host="tool.example:443", url="https://tool.example/x1")
    await store.enqueue(home.arrival(ANNA, decision=out, state="blocked", body=None, link=link))
    assert rows(home, "SELECT count(*) FROM tool_links") == [(0,)]
