"""The pages about rehearsals, on a running gateway: what they show to whom, and that only the button releases."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.installation import ANNA, KLEED, NIEMAND, WIM, Installation
from tests.story.relay import Relay, fresh, load_people, relaying
from tests.story.test_rehearse import MODE, campaign_mail, states


@pytest.fixture
def rehearsed(made: Path, tmp_path: Path) -> Iterator[Relay]:
    """anna, wim, kleed and niemand were sent a campaign that rehearses."""
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    installation.change(MODE, MODE + 'mode = "rehearse"\n')
    with relaying(installation) as relay:
        relay.taken([ANNA, WIM, KLEED, NIEMAND], campaign_mail("c1", "Nieuwe wijnen"))
        yield relay


@contextlib.contextmanager
def browser(installation: Installation, name: str, language: str = "nl") -> Iterator[httpx.Client]:
    """A member of staff, signed in."""
    with httpx.Client(base_url=installation.url, headers={"Accept-Language": language}, timeout=30) as client:
        entered = {"name": name, "password": installation.passwords[name]}
        assert client.post("/staff/login", data=entered).status_code == 303
        yield client


def only_campaign(client: httpx.Client) -> str:
    [path] = re.findall(r'href="(/staff/rehearsals/[0-9a-f]+)"', client.get("/staff/rehearsals").text)
    return str(path)


def test_a_marketer_sees_the_verdict_and_no_address(rehearsed: Relay) -> None:
    with browser(rehearsed.installation, "marketer") as client:
        page = client.get(only_campaign(client)).text
        assert "mogen 2 van de 4 mensen" in page and "Verstuur naar 2 van 4" in page
        assert "wine en clothing" in page and 'href="/staff/rules"' in page and "k***@example.org" in page
        assert not any(address in page for address in (ANNA, WIM, KLEED, NIEMAND))
        assert "Ondertekend (DKIM)." in page and "Afmelden met één klik zit erin." in page
        overview = client.get("/staff").text
        assert "newsletter staat op proef" in overview
        blocked = client.get("/staff/blocked").text
        assert "bij het proefdraaien" in blocked
    with browser(rehearsed.installation, "privacy", "en") as client:
        path = only_campaign(client)
        page = client.get(path).text
        assert KLEED not in page and client.post(path, data={"form": "0" * 64}).status_code == 403
        value = re.findall(r'name="form" value="([^"]+)"', page)[0]
        assert KLEED in client.post(path, data={"form": value}).text
        assert "2 of 4 people may receive this mail" in page


def test_the_mail_is_shown_for_nobody_and_its_links_are_dead(rehearsed: Relay) -> None:
    with browser(rehearsed.installation, "privacy") as client:
        path = only_campaign(client)
        mail, frame = client.get(path + "/mail"), client.get(path + "/mail/html")
        for page in (mail.text, frame.text):
            assert not any(address in page for address in (ANNA, WIM, KLEED, NIEMAND))
            assert "/u/" not in page and "/o/" not in page
        assert "Rode wijn" in frame.text and "a***@example.invalid" in mail.text
        assert "sandbox" in frame.headers["content-security-policy"]


def test_only_the_button_releases_and_only_once(rehearsed: Relay) -> None:
    installation = rehearsed.installation
    with browser(installation, "operator") as client:
        assert client.get("/staff/rehearsals").status_code == 403
        assert client.post("/staff/rehearsals/0000/release").status_code == 403
    with browser(installation, "marketer") as client:
        path = only_campaign(client)
        for look in (path, path + "/release"):
            for method in ("GET", "HEAD"):
                client.request(method, look)
        assert client.post(path + "/release", data={"form": "0" * 64}).status_code == 403
        assert client.post("/staff/rehearsals/0000/release", data={}).status_code == 403
        assert states(installation) == {"rehearsed": 4}, "nothing but the button does anything"
        ask = client.get(path + "/release").text
        assert "Verstuur naar 2 van 4" in ask
        [value] = re.findall(rf'action="{path}/release">\s*<input type="hidden" name="form" value="([^"]+)"', ask)
        for _ in range(2):  # somebody presses twice
            assert client.post(path + "/release", data={"form": value}).headers["location"] == path
            assert "Verstuur naar" not in client.get(path).text, "what was asked for is not offered again"
        rehearsed.upstream.wait(2)
        rehearsed.drained()
        assert sorted(mail.recipient for mail in rehearsed.upstream.mails) == sorted([ANNA, WIM])
        assert states(installation) == {"delivered": 2, "blocked": 2}
        done = client.get(path).text
        assert "Vrijgegeven: 2 mails." in done and "Verstuur naar" not in done
        assert client.get(path + "/release").status_code == 404
        results = path.replace("rehearsals", "campaigns")
        assert "Nieuwe wijnen" in client.get(results).text
    assert "event=rehearsal_released" in rehearsed.gateway.log()


def test_what_is_let_through_is_on_the_page_of_its_campaign(made: Path, tmp_path: Path) -> None:
    from tests.story.test_modes import observing

    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    installation.change(MODE, observing(20))
    with relaying(installation) as relay:
        relay.passes(KLEED, campaign_mail("c1"))
        relay.drained()
        with browser(installation, "marketer") as client:
            overview = client.get("/staff").text
            assert "newsletter kijkt alleen mee." in overview
            [path] = re.findall(r'href="(/staff/campaigns/[0-9a-f]+)"', overview)
            page = client.get(path).text
            assert "Doorgelaten tijdens het meekijken" in page
            assert "Iedereen in deze campagne mocht deze mail krijgen." not in page
