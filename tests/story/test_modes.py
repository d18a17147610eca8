"""Streams that rehearse or observe, seen from the newsletter tool, the next server and the reports."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import rehearse, report
from tests.installation import ANNA, KLEED, NIEMAND, WIM, Installation, newsletter
from tests.peers import ScriptedPeer
from tests.story.relay import Relay, fresh, load_people, one_click_url, page_links, relaying, with_store
from tests.story.test_hand_over import working

MODE = 'categories = ["wine"]\n'


def campaign(*, rehearsed: bool, relay: Relay) -> list[report.CampaignRow]:
    return with_store(
        relay.installation,
        lambda store, config: report.campaigns(store, controllers=config.controllers, rehearsed=rehearsed),
    )


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    place = fresh(made, tmp_path / "installation")
    load_people(place)
    return place


def test_nothing_of_a_rehearsal_leaves_and_all_of_it_is_reported(installation: Installation) -> None:
    installation.change(MODE, MODE + 'mode = "rehearse"\non_block = "reject"\n')
    with relaying(installation) as relay:
        relay.taken([ANNA, WIM, KLEED, NIEMAND], newsletter("proef"))
        relay.taken([NIEMAND], newsletter("proef"))  # nobody may have it: taken all the same, on a stream that rejects
        relay.taken(ANNA, newsletter("proef"), login="events", sender="events@acme.example")  # another stream enforces
        [row] = campaign(rehearsed=True, relay=relay)
        assert (row.mode, row.accepted, row.allowed, row.blocked) == ("rehearse", 5, 2, 3)
        assert row.blocked_by_reason == {"PRODUCT_NOT_SIMILAR": 1, "RECIPIENT_UNKNOWN": 2}
        assert (row.open, row.delivered, row.captured, row.released) == (5, 0, 0, 0)
        assert {one.stream for one in campaign(rehearsed=False, relay=relay)} == {"events"}
        assert {(one.reason_code, one.mode) for one in relay.blocked() if one.stream == "newsletter"} == {
            ("PRODUCT_NOT_SIMILAR", "rehearse"), ("RECIPIENT_UNKNOWN", "rehearse"),
        }  # fmt: skip
        relay.drained()
        assert relay.upstream.count == 0, "neither copies nor delivery reports"


def test_what_is_wrong_with_the_message_is_loud_in_a_rehearsal_too(installation: Installation) -> None:
    installation.change(MODE, MODE + 'mode = "rehearse"\n')
    installation.change('postal_address = "', 'postal_address = ""  # "')
    with relaying(installation) as relay:
        code, text = relay.send([ANNA], newsletter("zonder adres"))
        assert (code, text.split()[:2]) == (550, ["5.7.1", "POSTAL_ADDRESS_MISSING"])
        [row] = campaign(rehearsed=True, relay=relay)
        assert (row.blocked_by_reason, row.open) == ({"POSTAL_ADDRESS_MISSING": 1}, 0)


def observing(days: int) -> str:
    end = (datetime.now(UTC) + timedelta(days=days)).date()
    return f'{MODE}mode = "observe"\nobserve_until = {end}\nmotivation.observe = "The list comes over."\n'


def test_observing_passes_and_reports_but_never_past_an_opt_out(installation: Installation) -> None:
    installation.change(MODE, observing(20))
    with relaying(installation) as relay:
        mail = relay.passes(KLEED, newsletter("kijken"))
        links = page_links(mail)
        assert all(links.values()), "what is let through can be stopped like any other"
        relay.passes(NIEMAND, newsletter("kijken"))
        relay.passes(ANNA, newsletter("kijken"))
        assert relay.one_click(one_click_url(mail)).status_code == 200
        assert relay.kept_out(KLEED, newsletter("kijken")) == "SUPPRESSED_SENDER"  # no ground: all of the sender
        relay.drained()
        [row] = campaign(rehearsed=False, relay=relay)
        assert (row.mode, row.accepted, row.allowed, row.observed, row.delivered) == ("observe", 4, 3, 2, 3)
        assert row.observed_by_reason == {"PRODUCT_NOT_SIMILAR": 1, "RECIPIENT_UNKNOWN": 1}
        assert row.blocked_by_reason == {"SUPPRESSED_SENDER": 1}
        rows = relay.installation.report("observed", "--addresses")
        assert {(one["recipient"], one["decision"], one["reason_code"], one["mode"]) for one in rows} == {
            (KLEED, "allow", "PRODUCT_NOT_SIMILAR", "observe"), (NIEMAND, "allow", "RECIPIENT_UNKNOWN", "observe"),
        }  # fmt: skip
        assert "U krijgt deze mail van Acme Wijnen." in mail.raw.decode()


def test_a_stream_whose_observing_is_over_enforces(installation: Installation) -> None:
    installation.change(MODE, observing(0))  # ended at midnight
    with relaying(installation) as relay:
        assert relay.kept_out(KLEED, newsletter("voorbij")) == "PRODUCT_NOT_SIMILAR"
        assert {one.mode for one in relay.blocked()} == {"enforce"}
        said = relay.installation.tool("check-config").stderr.decode()
        assert "it enforces now" in said
        assert relay.installation.tool("doctor").returncode == 1


def test_observing_for_too_long_is_refused(installation: Installation) -> None:
    installation.change(MODE, observing(32))
    for command in ("serve", "check-config"):
        done = installation.tool(command)
        assert done.returncode == 1
        assert "observe_until: is more than 30 days off" in done.stderr.decode()


# where days have to pass


async def test_what_waits_when_observing_ends_is_kept_out(installation: Installation) -> None:
    installation.change(MODE, observing(1))  # until midnight
    async with (
        ScriptedPeer({"MAIL": ["451 4.3.2 later", "250 2.1.0 ok"]}) as peer,
        working(installation, peer.port) as work,
    ):
        await work.send(KLEED, newsletter("te laat"))
        await work.until(lambda: work.copies()[0][:2] == ("queued", 1))
        await work.pass_time(timedelta(days=1))  # nothing was restarted
        await work.until(lambda: work.copies()[0][0] == "blocked")
        assert not peer.transactions
        store, config = work.worker._store, work.worker.config
        [row] = await report.blocked(store, controllers=config.controllers)
        assert (row.reason_code, row.decision) == ("PRODUCT_NOT_SIMILAR", "block")
        [counts] = await report.campaigns(store, controllers=config.controllers)
        assert (counts.accepted, counts.allowed, counts.observed, counts.blocked) == (1, 0, 0, 1)


async def test_time_to_try_counts_from_the_release(installation: Installation) -> None:
    """A campaign released on the fourth day is tried as long as one that was never rehearsed (2 days)."""
    installation.change(MODE, MODE + 'mode = "rehearse"\n')
    async with ScriptedPeer({"MAIL": "451 4.3.2 later"}) as peer, working(installation, peer.port) as work:
        await work.send(ANNA, newsletter("vrij").replace(b"Subject:", b"X-Consentgate-Campaign: late\r\nSubject:", 1))
        await work.pass_time(timedelta(days=4))
        assert work.copies()[0][0] == "rehearsed"
        config, ring = work.worker.config, work.worker._ring
        chosen = rehearse.Campaign(controller_id="acme", stream="newsletter", campaign="late")
        moved = await rehearse.release(
            work.worker._store, config, work.worker._scales, work.worker._notices, ring, chosen, by="test",
            clock=work.clock,
        )  # fmt: skip
        assert moved == (1, 0)
        await work.pass_time(timedelta())
        await work.until(lambda: work.copies()[0][:2] == ("queued", 1))
        await work.pass_time(timedelta(days=1, hours=20))
        await work.until(lambda: work.copies()[0][:2] == ("queued", 2))
        await work.pass_time(timedelta(hours=5))
        await work.until(lambda: work.copies()[0][0] == "failed")
