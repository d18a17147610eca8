"""The rules as a command, and what is ruled, mapped and declared in the running program."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.installation import ANNA, KLEED, WIM, Installation, consent, lines_of, newsletter, sale
from tests.story.relay import Relay, fresh, load, load_people, relaying
from tests.story.test_promises import rows
from tests.story.upstream import Gate

OWN = """
[controllers.acme.packs.NL]
soft_opt_in_max_months = 36
motivation.soft_opt_in_max_months = "Wine keeps: customers come back every other year."
[controllers.acme.packs.FR]
require_opt_in = true

[controllers.acme.purposes.newsletter]
"""
LINKS = """
[controllers.acme.categories.clothing]
links = ["shop.acme.example/kleding/*"]
subjects = ["jurk*"]
"""


def said(installation: Installation, *args: object) -> str:
    done = installation.tool("rules", *args)
    assert done.returncode == 0, done.stderr.decode()
    return str(done.stdout.decode())


def refused(installation: Installation, *args: object, code: int = 1) -> str:
    done = installation.tool("rules", *args)
    assert done.returncode == code, done.stdout.decode()
    return str(done.stderr.decode() or done.stdout.decode())


@pytest.fixture
def with_packs(installation: Installation) -> Installation:
    """An installation whose controller has its own terms, and which has a newer version of pack NL from 2027 on."""
    installation.change("[controllers.acme.purposes.newsletter]\n", OWN.lstrip())
    (installation.dir / "packs").mkdir()
    (installation.dir / "packs" / "nl.toml").write_text(draft())
    installation.change('public_url = "', 'packs = "packs"\npublic_url = "')
    return installation


def draft(**changes: object) -> str:
    """The shipped pack NL as a version 2 from 2027 on, with some fields changed."""
    text = Path("suppression/packs/nl.toml").read_text("utf-8")
    for name, value in {"version": 2, "in_force": "2027-01-01", **changes}.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert found == 1
    return text


def test_the_packs_are_listed_with_version_day_and_origin(with_packs: Installation) -> None:
    packs = {row["code"]: row for row in lines_of(with_packs.tool("rules", "list", "--json"))}
    assert (packs["NL"]["version"], packs["NL"]["origin"], packs["NL"]["until"]) == (1, "shipped", "2027-01-01")
    later = {row["code"]: row for row in lines_of(with_packs.tool("rules", "list", "--json", "--at", "2027-01-01"))}
    assert (later["NL"]["version"], later["NL"]["origin"], later["BE"]["version"]) == (2, "own", 1)
    assert "NL\tNetherlands\t1\t2021-07-01\tshipped" in said(with_packs, "list")
    assert "is not a day" in refused(with_packs, "list", "--at", "soon")


def test_a_pack_is_shown_as_a_lawyer_reads_it(with_packs: Installation) -> None:
    text = said(with_packs, "show", "nl")
    assert "Legislation: Tw 11.7 as replaced" in text
    assert "[V] read in the legal text itself" in text and "[K]" not in text
    assert re.search(r"A customer may be mailed after sale or end of contract +24 months +\[default\]", text)
    assert "Deviation of acme: 36 months. Motivation: Wine keeps: customers come back every other year." in text
    assert re.search(r"Age from which somebody consents alone +16 +\[law\]", text)
    assert "customer relation: Tw 11.7(4); ePD 13(2)" in text
    assert "2  2027-01-01  own pack" in text
    assert "Alleen mailen met toestemming (eigen keuze)" in said(with_packs, "show", "FR", "--language", "nl")
    assert "Canada" in said(with_packs, "show", "CA") and "inquiry: 6 months" in said(with_packs, "show", "CA")
    assert "There is no pack 'XX'. Known: BE, CA" in refused(with_packs, "show", "XX")
    [row] = lines_of(with_packs.tool("rules", "show", "NL", "--json"))
    [months] = [one for one in row["parameters"] if one["field"] == "soft_opt_in_max_months"]
    assert (months["value"], months["held_to"], months["statutory"]) == (24, 36, False)
    assert [one["version"] for one in row["versions"]] == [1, 2]


def test_a_draft_of_a_pack_is_tried(with_packs: Installation, tmp_path: Path) -> None:
    file = tmp_path / "nl.toml"
    file.write_text(draft(version=3, in_force="2028-01-01", soft_opt_in_max_months=12))
    text = said(with_packs, "check", file)
    assert "NL version 3, in force from 2028-01-01. Beside NL version 1 that ships:" in text
    assert "soft_opt_in_max_months: 24 -> 12 (not laxer)" in text
    file.write_text(draft(version=3, in_force="2028-01-01", soft_opt_in_max_months=30))
    line = file.read_text().splitlines().index("soft_opt_in_max_months = 30") + 1
    told = refused(with_packs, "check", file)
    assert told.startswith(f"{file}:{line}: motivation: is missing; the pack is laxer than NL version 1 that ships")
    file.write_text(draft(version=3, in_force="2028-01-01") + "\ncolour = 3\n")
    assert re.match(rf"{file}:\d+: cite: must be a table from ground", refused(with_packs, "check", file))
    file.write_text("colour = 3\n" + draft(version=3, in_force="2028-01-01"))
    assert refused(with_packs, "check", file).startswith(f"{file}:1: colour: is not a field of a pack; remove it or")
    row = json.loads(refused(with_packs, "check", file, "--json"))
    assert (row["line"], row["field"], row["remedy"]) == (1, "colour", "remove it or correct its name")
    file.write_text(draft(version=1, in_force="2028-01-01"))
    assert "version: 1 is not above that of the NL that ships" in refused(with_packs, "check", file)
    assert f"{with_packs.dir}/packs/nl.toml is good" in said(with_packs, "check", with_packs.dir / "packs" / "nl.toml")


def test_the_table_of_rules_has_every_rule_with_its_law(installation: Installation) -> None:
    rules = {row["rule"]: row for row in lines_of(installation.tool("rules", "table", "--json"))}
    assert rules["A5"]["result"] == "ADDRESS_UNDELIVERABLE" and rules["A5"]["law"] == "GDPR 5(1)(d)"
    assert {"B1", "C1", "D1-1", "D4-16", "E6", "F", "G"} <= set(rules)


def test_a_ruling_that_makes_no_sense_is_refused_with_a_remedy(installation: Installation) -> None:
    rule = ("similar", "rule")
    assert "no category 'shoes'. Known: wine, spirits, clothing" in refused(
        installation, *rule, "wine", "shoes", "--yes", "--why", "x"
    )
    assert "always similar to itself" in refused(installation, *rule, "wine", "wine", "--no", "--why", "x")
    assert "would this customer be surprised?" in refused(installation, *rule, "wine", "spirits", "--no", "--why", " ")
    assert "--yes (similar) or --no" in refused(installation, *rule, "wine", "spirits", "--why", "x", code=2)
    assert [row["source"] for row in lines_of(installation.tool("rules", "similar", "list", "--json"))] == ["settings"]


def test_a_ruling_changes_the_verdict_of_mail_that_waits_and_the_last_one_counts(installation: Installation) -> None:
    installation.change('categories = ["wine"]\n', 'categories = ["spirits"]\n')
    load_people(installation)
    gate = Gate()
    with relaying(installation, {".": gate}, connections=1) as relay:
        relay.taken(ANNA, newsletter("houdt de verbinding bezet"))
        relay.gateway.eventually(lambda: gate.waiting == 1)
        named = relay.taken(WIM, newsletter("jenever"))
        ruling = ("similar", "rule", "spirits", "wine", "--why", "Gin is not wine.", "--by", "eva")
        assert "are not similar for acme from now on" in said(installation, *ruling, "--no")
        relay.a_second_passes()
        gate.open()
        relay.drained()
        found = rows(
            installation, "SELECT state, reason_code, accept_code, packs FROM copies WHERE message_id = ?",
            UUID(named).bytes,
        )  # fmt: skip
        assert found == [("blocked", "PRODUCT_NOT_SIMILAR", "ALLOW_SOFT_OPT_IN", "NL@1 default")]
        asked = lines_of(installation.tool("rules", "similar", "questions", "--json"))
        assert asked == [], "what was ruled is no question any more"
        [row] = lines_of(installation.tool("rules", "similar", "list", "--json"))
        assert (row["similar"], row["source"], row["why"], row["by"]) == (False, "ruling", "Gin is not wine.", "eva")
        said(installation, *ruling[:-4], "--why", "Both are gifts.", "--by", "eva", "--yes")
        relay.passes(WIM, newsletter("jenever"))
        [blocked] = [row for row in installation.report() if row["message_id"] == named]
        assert (blocked["packs"], blocked["country_from"]) == ("NL@1", "default")
    assert installation.tool("ledger", "verify").returncode == 0


def test_what_nobody_ruled_on_is_asked_with_the_number_of_people(installation: Installation) -> None:
    load(installation, "sales", [sale(WIM, "clothing"), sale(KLEED, "clothing"), sale(ANNA, "wine")])
    with relaying(installation) as relay:
        relay.taken([ANNA, WIM, KLEED], newsletter())
        relay.drained()
    [question] = lines_of(installation.tool("rules", "similar", "questions", "--json"))
    assert question == {"offered": "wine", "bought": "clothing", "people": 2}


def test_a_pack_put_into_the_folder_counts_after_a_reload_and_a_broken_one_changes_nothing(
    made: Path, tmp_path: Path
) -> None:
    installation = fresh(made, tmp_path / "installation")
    installation.change('public_url = "', 'packs = "packs"\npublic_url = "')
    pack = installation.dir / "packs" / "nl.toml"
    pack.parent.mkdir()
    load_people(installation)
    with relaying(installation) as relay:
        relay.passes(WIM, newsletter("voor"))
        pack.write_text(draft(in_force="2026-01-01", soft_opt_in_max_months=3))
        relay.gateway.signal(signal.SIGHUP)
        relay.gateway.eventually(lambda: "reloaded" in relay.gateway.log())
        assert relay.kept_out(WIM, newsletter("na")) == "CUSTOMER_RELATION_STALE"
        assert relay.blocked()[0].packs == "NL@2"
        good = pack.read_text()
        pack.write_text("colour = 3\n" + good)
        relay.gateway.signal(signal.SIGHUP)
        relay.gateway.eventually(lambda: "reload_refused" in relay.gateway.log())
        assert f"{pack}:1: colour: is not a field of a pack. Remove it or correct its name." in relay.gateway.log()
        pack.write_text(good)
        assert relay.kept_out(WIM, newsletter("nog steeds")) == "CUSTOMER_RELATION_STALE"


def linking(page: str, subject: str = "Nieuw") -> bytes:
    """A newsletter with one link, in quoted-printable."""
    link = f'<a href=3D"https://shop.acme.example/{page}">kijk</a></body>'
    return newsletter(subject).replace(b"</body>", link.encode())


@pytest.fixture(scope="module")
def mapped(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A gateway that reads clothing from links and subjects; its newsletter stream says wine."""
    installation = fresh(made, tmp_path_factory.mktemp("mapped") / "installation")
    installation.change("[controllers.acme.categories.clothing]\n", LINKS.lstrip())
    load_people(installation)
    with relaying(installation) as running:
        yield running


def test_the_categories_of_a_mail_are_read_from_where_its_links_lead(mapped: Relay) -> None:
    mapped.passes(WIM, linking("over-ons"))
    assert mapped.kept_out(WIM, linking("kleding/jas-7")) == "PRODUCT_NOT_SIMILAR"
    mapped.passes(KLEED, linking("Kleding/jas-7?utm=3Dx"))
    assert mapped.kept_out(KLEED, linking("wijn")) == "PRODUCT_NOT_SIMILAR"
    [(kind,)] = rows(mapped.installation, "SELECT kind FROM messages ORDER BY message_id DESC LIMIT 1")
    assert json.loads(kind)["categories"] == ["wine"]
    kinds = [json.loads(kind) for (kind,) in rows(mapped.installation, "SELECT kind FROM messages")]
    assert any("category clothing link shop.acme.example/kleding/*" in kind["matched"] for kind in kinds)


def test_the_categories_of_a_mail_are_read_from_its_subject_unless_it_names_them(mapped: Relay) -> None:
    mapped.passes(KLEED, newsletter("Jürken voor de zomer"))
    named = b"X-Consentgate-Category: wine\r\n" + newsletter("Jurken voor de zomer")
    assert mapped.kept_out(KLEED, named) == "PRODUCT_NOT_SIMILAR"
    mapped.passes(WIM, named)


def test_a_partners_offer_needs_consent_that_names_the_partner_and_the_footer_names_both(
    made: Path, tmp_path: Path
) -> None:
    installation = fresh(made, tmp_path / "installation")
    partner = 'advertiser = { id = "brouwer", legal_name = "Brouwer & Zn. B.V." }'
    installation.change('categories = ["wine"]\n', f'categories = ["wine"]\n{partner}\n')
    load(installation, "consents", [consent(ANNA), consent(KLEED, advertisers="brouwer")])
    load(installation, "sales", [sale(WIM, "wine")])
    with relaying(installation) as relay:
        assert relay.kept_out(ANNA, newsletter()) == "THIRD_PARTY_OFFER_NOT_CONSENTED"
        assert relay.kept_out(WIM, newsletter()) == "SOFT_OPT_IN_NOT_OWN_PRODUCT"
        mail = relay.passes(KLEED, newsletter())
        leaves = {
            part.get_content_type(): part.get_payload(decode=True).decode()
            for part in mail.message.walk() if part.get_content_maintype() == "text"
        }  # fmt: skip
        assert "Acme Wijnen B.V. stuurt u deze mail namens Brouwer & Zn. B.V." in leaves["text/plain"]
        assert "Acme Wijnen B.V. stuurt u deze mail namens Brouwer &amp; Zn. B.V." in leaves["text/html"]


def test_an_advertiser_without_a_legal_name_blocks(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    installation.change('categories = ["wine"]\n', 'categories = ["wine"]\nadvertiser.id = "brouwer"\n')
    load(installation, "consents", [consent(ANNA, advertisers="brouwer")])
    with relaying(installation) as relay:
        code, text = relay.send(ANNA, newsletter())
        assert code == 550 and "SENDER_IDENTITY_MISSING" in text
