"""Looking at letters, trying one's own templates, and the letter about a restriction that ends (GDPR art. 18(3))."""

import email
import email.policy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.installation import ANNA, Installation, consent, consentgate, lines_of, newsletter
from tests.story.relay import Relay, fresh, load_people, relaying, verify_dkim
from tests.story.test_bought_lists import BUYER_SIDE, SELLER_SIDE


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Installation:
    return fresh(made, tmp_path / "installation")


def shown(place: Installation, *args: object) -> str:
    done = place.tool("letter", *args)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_every_letter_can_be_looked_at_in_every_language(place: Installation) -> None:
    names = [line["letter"] for line in lines_of(consentgate("letter", "list", "--json"))]
    assert {"confirm", "stopped", "report"} <= set(names)
    for name in names:
        seen = set()
        for language in ("nl", "en", "fr", "de"):
            raw = shown(place, "show", name, "--language", language).encode()
            message = email.message_from_bytes(raw, policy=email.policy.default)
            assert not message.defects and message["Subject"]
            seen.add(message["Subject"])
            assert "acme" in shown(place, "show", name, "--language", language, "--part", "text").lower()
        assert len(seen) == 4, name
    assert '<html lang="nl"' in shown(place, "show", "stopped", "--part", "html")
    done = place.tool("letter", "show", "report", "--part", "html")
    assert done.returncode == 1 and b"text alone" in done.stderr
    done = place.tool("letter", "show", "love")
    assert done.returncode == 1 and b"confirm" in done.stderr


def test_own_templates_are_checked_where_they_stand(place: Installation) -> None:
    assert place.tool("letter", "check").returncode == 0
    own = place.dir / "templates" / "acme" / "mail"
    own.mkdir(parents=True)
    (own / "stopped.txt").write_text("Wij stoppen. {{ stops | join }}", "utf-8")
    assert place.tool("letter", "check").returncode == 0
    assert shown(place, "show", "stopped", "--part", "text").startswith("Wij stoppen.")
    (own / "confirm.html").write_text("<p>\nKlik {{ hier\n</p>", "utf-8")
    (own / "stopped.html").write_text("<p>Gestopt.</p>", "utf-8")
    done = place.tool("letter", "check", "--json")
    assert done.returncode == 1
    told = map(json.loads, done.stdout.decode().splitlines())
    found = {(one["letter"], one["language"]): one["problem"] for one in told}
    assert set(found) == {(name, lang) for name in ("confirm", "stopped") for lang in ("nl", "en", "fr", "de")}
    assert "confirm.html:3" in found["confirm", "nl"] and "does not show" in found["stopped", "de"]
    assert "Aanmelding bevestigen" in shown(place, "show", "confirm", "--part", "html")


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    installation = fresh(made, tmp_path_factory.mktemp("announced") / "installation")
    load_people(installation)
    with relaying(installation) as running:
        yield running


def test_a_restriction_ends_when_the_letter_said_so(relay: Relay) -> None:
    place = relay.installation
    day = datetime.now(UTC) + timedelta(days=8)

    def refused(*args: object) -> str:
        done = place.tool("person", *args)
        assert done.returncode == 1, done.stdout
        return done.stderr.decode()

    announce = ("announce", ANNA, "--not-before")
    assert "no such restriction" in refused(*announce, day.isoformat())
    assert place.tool("person", "restrict", ANNA, "--reason", "she says the address is not hers").returncode == 0
    assert "--told-at" in refused("lift", ANNA, "--reason", "it is hers")
    assert "a day at least" in refused(*announce, (day - timedelta(days=8)).isoformat())
    assert place.tool("person", *announce, day.isoformat()).returncode == 0
    relay.upstream.until(lambda: bool(relay.upstream.to(ANNA)))
    [mail] = relay.upstream.to(ANNA)  # a mandatory notice: the restriction does not keep it back (A6)
    assert mail.message["Subject"] == "De beperking van uw gegevens bij Acme Wijnen eindigt"
    assert {"from", "to", "subject"} <= verify_dkim(mail, place)
    assert f"{day.day} " in mail.message.get_body(("plain",)).get_content() and mail.mail_from == ""
    assert "does not end before" in refused("lift", ANNA, "--reason", "it is hers")
    since = datetime.now(UTC).isoformat()
    assert place.tool("person", "lift", ANNA, "--reason", "on the phone", "--told-at", since).returncode == 0


LISTED, MAILED = "gekocht@example.org", "gemaild@example.org"


def from_list(address: str) -> dict[str, str]:
    return consent(
        address, **{
            "source": "purchased_list", "named_recipients": "acme", "sharing_consent": "true",
            "seller_verified": "true", "buyer_verified": "true", "evidence.origin": "stand 14",
        }
    )  # fmt: skip


def test_people_on_a_bought_list_are_told_once_and_not_whom_the_footer_told(relay: Relay, tmp_path: Path) -> None:
    tool, file = relay.installation.tool, tmp_path / "expo.csv"
    rows = [from_list(LISTED), from_list(MAILED)]
    file.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")
    assert tool("consent", "source", "tell", "expo2026").returncode == 1
    assert tool("consent", "source", "add", "expo2026", "--seller", "Expo <B.V.>").returncode == 0
    for side in (SELLER_SIDE, BUYER_SIDE):
        assert tool("consent", "source", "check", "expo2026", *side).returncode == 0
    assert tool("import", "consents", file, "--list", "expo2026").returncode == 0
    assert (
        "Wij kregen uw adres van Expo" in relay.passes(MAILED, newsletter()).message.get_body(("plain",)).get_content()
    )
    relay.drained()
    [counted] = lines_of(tool("consent", "source", "tell", "expo2026", "--dry-run", "--json"))
    assert (counted["on_list"], counted["owed"]) == (2, 1) and not relay.upstream.to(LISTED)
    [owed] = lines_of(tool("consent", "source", "tell", "expo2026", "--json"))
    assert (owed["on_list"], owed["owed"]) == (2, 1)
    relay.upstream.until(lambda: bool(relay.upstream.to(LISTED)))
    [again] = lines_of(tool("consent", "source", "tell", "expo2026", "--json"))
    assert again["owed"] == 0
    [letter] = relay.upstream.to(LISTED)
    assert letter.message["Subject"] == "Acme Wijnen kreeg uw adres van een ander"
    text, html = (letter.message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "van Expo <B.V.> gekregen" in text and "van Expo &lt;B.V.&gt; gekregen" in html
    assert "De nieuwsbrief" in text and "artikel 14" in text and "/u/" not in text
    assert "from" in verify_dkim(letter, relay.installation)
    relay.drained()
    assert len(relay.upstream.to(LISTED)) == 1 and len(relay.upstream.to(MAILED)) == 1
