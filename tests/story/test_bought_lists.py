"""Lists of third parties through the whole program: blocked until both sides checked, and named in every mail."""

import json
from pathlib import Path

import pytest

from tests.installation import Installation, consent, lines_of, newsletter
from tests.story.relay import Relay

BOUGHT = "gekocht@example.org"
SELLER_SIDE = (
    "--by", "seller", "--record", "stand 14, paper forms", "--wording", "v7", "--sharing", "second box, names Acme",
)  # fmt: skip
BUYER_SIDE = ("--by", "buyer", "--sample", 20, "--checker", "P. de Vries", "--result", "20 called, all agreed")


def bought(file: Path, **more: str) -> Path:
    row = consent(
        BOUGHT, **{
            "source": "purchased_list", "named_recipients": "acme", "sharing_consent": "true",
            "seller_verified": "true", "buyer_verified": "true", "evidence.origin": "stand 14", **more,
        }
    )  # fmt: skip
    file.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    return file


def test_a_bought_list_counts_once_both_sides_checked_it_and_is_named_in_the_mail(relay: Relay, tmp_path: Path) -> None:
    tool, file = relay.installation.tool, bought(tmp_path / "expo.csv")
    [claimed] = lines_of(tool("import", "consents", file, "--json"))
    assert claimed["undeclared"] == {"list of a third party (none is named)": 1}
    assert relay.kept_out(BOUGHT, newsletter()) == "PURCHASED_LIST_UNVERIFIED"

    assert tool("consent", "source", "add", "expo2026", "--seller", "Expo <B.V.>").returncode == 0
    assert tool("import", "consents", file, "--list", "expo2026").returncode == 0
    assert relay.kept_out(BOUGHT, newsletter()) == "PURCHASED_LIST_UNVERIFIED"

    half = tool("consent", "source", "check", "expo2026", *SELLER_SIDE)
    assert b"Not verified yet: the buyer's own check" in half.stderr
    [whole] = lines_of(tool("consent", "source", "check", "expo2026", *BUYER_SIDE, "--json"))
    assert (whole["version"], whole["complete"], whole["missing"]) == (3, True, [])
    assert relay.kept_out(BOUGHT, newsletter()) == "PURCHASED_LIST_UNVERIFIED"  # what is on file was not checked then

    [again] = lines_of(tool("import", "consents", file, "--list", "expo2026", "--json"))
    assert (again["kept"], again["new_people"]) == (1, 0)
    mail = relay.passes(BOUGHT, newsletter())
    text, html = (part.get_content() for part in mail.message.iter_parts())
    said = "voor de nieuwsbrief. Alleen Acme Wijnen B.V. en wie voor ons de mail verstuurt, ontvangen het."
    assert f"Wij kregen uw adres van Expo <B.V.>, {said}" in " ".join(text.split())
    assert f"Wij kregen uw adres van Expo &lt;B.V.&gt;, {said}" in " ".join(html.split())

    [person] = lines_of(tool("person", "show", BOUGHT, "--json"))
    [kept] = person["consents"]
    assert kept["evidence"]["origin"] == "list:expo2026@3 (Expo <B.V.>) / stand 14"
    assert tool("ledger", "rebuild", "--check").returncode == 0
    assert tool("ledger", "verify").returncode == 0


def test_mail_on_our_own_consent_names_nobody(relay: Relay) -> None:
    mail = relay.passes("anna@example.org", newsletter())
    assert b"Wij kregen" not in mail.raw


def test_the_file_about_a_list_says_who_checked_what_and_keeps_every_version(installation: Installation) -> None:
    tool = installation.tool
    tool("consent", "source", "add", "expo2026", "--seller", "Expo B.V.", "--kind", "third_party_share")
    tool("consent", "source", "check", "expo2026", *BUYER_SIDE, "--good", 19, "--on", "2026-01-02")
    shown = tool("consent", "source", "show", "expo2026").stdout.decode()
    assert "version 2" in shown and "version 1" in shown
    assert "buyer, 2026-01-02: 19 of 20 right; 20 called, all agreed (P. de Vries)" in shown
    [row] = lines_of(tool("consent", "source", "list", "--json"))
    assert row["complete"] is False
    assert row["kind"] == "third_party_share"
    for part in installation.dir.glob("consentgate.db*"):
        assert b"de Vries" not in part.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["import", "consents", "FILE", "--list", "nix"], "consentgate consent source add nix"),
        (["import", "sales", "FILE", "--list", "nix"], "Leave it out"),
        (["consent", "source", "check", "nix", *SELLER_SIDE], "There is no list 'nix'"),
        (["consent", "source", "show", "nix"], "There is no list 'nix'"),
        (["consent", "source", "add", "Expo!", "--seller", "Expo"], "lower-case letters"),
        (["consent", "source", "add", "expo", "--seller", "Expo"], "has a file already"),
        (["consent", "source", "check", "expo", "--by", "seller", "--record", "x"], "says nothing about: wording"),
        (["consent", "source", "check", "expo", *BUYER_SIDE, "--good", 21], "21 of 20"),
        (["consent", "source", "check", "expo", *BUYER_SIDE, "--on", "2999-01-01"], "lies in the future"),
        (["consent", "source", "check", "expo", *BUYER_SIDE, "--on", "soon"], "Write it as 2026-11-22"),
    ],
)
def test_bad_input_is_named_with_a_remedy_and_nothing_is_kept(
    installation: Installation, tmp_path: Path, words: list[object], said: str
) -> None:
    file = bought(tmp_path / "expo.csv")
    assert installation.tool("consent", "source", "add", "expo", "--seller", "Expo").returncode == 0
    done = installation.tool(*(file if word == "FILE" else word for word in words))
    assert done.returncode == 1
    assert said in done.stderr.decode()
    [row] = lines_of(installation.tool("consent", "source", "show", "expo", "--json"))
    assert row["version"] == 1
    person = json.loads(installation.tool("person", "show", BOUGHT, "--json").stdout)
    assert person["consents"] == []
