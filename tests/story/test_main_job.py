"""The main job: four people get a newsletter; two may have it, one click ends it, and the marketer sees why."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import ANNA, KLEED, NIEMAND, WIM, Gateway, Make, consent, newsletter, order
from tests.mails import leaf, leaves, message, multipart, octets, read
from tests.story.relay import (
    Relay,
    load,
    load_people,
    on_both,
    one_click_url,
    page_links,
    path_of,
    relaying,
    verify_dkim,
)

FOUR = [ANNA, WIM, KLEED, NIEMAND]
EVA, BEA, FIEN, DIRK, GIJS = (f"{name}@example.org" for name in ("eva", "bea", "fien", "dirk", "gijs"))
pytestmark = on_both


@pytest.fixture(scope="module", autouse=True)
def more_people(relay: Relay) -> None:
    """Some more who agreed, so that each test has people of its own."""
    relay.agree(EVA, BEA, FIEN, DIRK, GIJS)


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "four RCPT"])
def test_the_two_who_may_get_it_each_with_links_of_their_own(relay: Relay, at_once: bool) -> None:
    subject = f"Vier tegelijk {at_once}"
    before = relay.upstream.count
    for group in [FOUR] if at_once else [[one] for one in FOUR]:
        relay.taken(group, newsletter(subject))
    relay.upstream.wait(before + 2)
    relay.drained()
    mails = [mail for mail in relay.upstream.mails if mail.message["Subject"] == subject]
    assert sorted(mail.recipient for mail in mails) == [ANNA, WIM]
    one_clicks = {one_click_url(mail) for mail in mails}
    pages = {link for mail in mails for links in page_links(mail).values() for link in links}
    assert len(one_clicks) == len(pages) == 2
    for mail in mails:
        _has_exact_fields(relay, mail.raw)
        assert set(page_links(mail)) == {"text/plain", "text/html"}
        assert all(len(links) == 1 for links in page_links(mail).values())
        covered = verify_dkim(mail, relay.installation)
        assert covered >= {
            "from", "to", "subject", "date", "message-id", "mime-version", "content-type", "list-unsubscribe",
            "list-unsubscribe-post", "list-id", "feedback-id",
        }  # fmt: skip
    reported = relay.installation.report("blocked", "--addresses")
    rows = {row["recipient"]: row for row in reported if row["subject"] == subject}
    assert {who: row["reason_code"] for who, row in rows.items()} == {
        KLEED: "PRODUCT_NOT_SIMILAR", NIEMAND: "RECIPIENT_UNKNOWN",
    }  # fmt: skip
    assert all(row["decision"] == "block" and row["stream"] == "newsletter" for row in rows.values())
    assert all(row["controller"] == "acme" and row["cite"] and row["mode"] == "enforce" for row in rows.values())


def _has_exact_fields(relay: Relay, raw: bytes) -> None:
    """RULES.md 5.3, on the bytes."""
    head = raw.partition(b"\r\n\r\n")[0].decode("ascii") + "\r\n"
    names = [name.lower() for name in re.findall(r"(?m)^([!-9;-~]+):", head)]
    for name in ("list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id", "received", "message-id"):
        assert names.count(name) == 1, name
    unsubscribe = re.search(r"(?ms)^List-Unsubscribe:(.*?)\r\n(?![ \t])", head)
    assert unsubscribe is not None
    value = re.sub(r"\r\n[ \t]+", " ", unsubscribe[1]).strip()
    found = re.fullmatch(r"<([^>\s]+)>, <mailto:unsub@bounce\.acme\.example\?subject=([^>\s]+)>", value)
    assert found is not None, value
    assert found[1] == f"{relay.installation.url}/o/{found[2]}"
    assert len(found[2]) <= 120
    assert "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head
    list_id = re.search(r"(?m)^List-Id: .*<([^<>\r]+)>\r$", head)
    assert list_id is not None and list_id[1].endswith("acme.example")
    feedback = re.search(r"(?m)^Feedback-ID: (.*)\r$", head)
    assert feedback is not None and 5 <= len(feedback[1].split(":")[-1]) <= 15
    for tag in re.findall(r"h=([^;]*);", head):
        assert "received" not in re.sub(r"\s", "", tag).lower().split(":")


def test_looking_at_a_link_changes_nothing_and_one_click_ends_it(relay: Relay) -> None:
    first = relay.passes(EVA, newsletter("een"))
    one_click = one_click_url(first)
    pages = set().union(*page_links(first).values())
    for method in ("GET", "HEAD", "GET"):
        for url in {one_click, *pages}:
            answer = relay.http(method, url)
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers
            assert (answer.content == b"") if method == "HEAD" else (answer.text.lower().count("<form") >= 1)
    second = relay.passes(EVA, newsletter("twee"))
    assert one_click_url(second) != one_click
    for _ in range(2):  # a provider may ask twice
        answer = relay.one_click(one_click)
        assert answer.status_code == 200
        assert not {"set-cookie", "location"} & set(answer.headers)
    assert relay.kept_out(EVA, newsletter("drie")) == "SUPPRESSED_PURPOSE"
    relay.drained()
    assert len(relay.upstream.to(EVA)) == 2


def test_a_customers_click_stops_the_whole_controller_but_not_their_order(relay: Relay) -> None:
    mail = relay.passes(WIM, newsletter("voor klanten"))
    before = len(relay.upstream.to(WIM))
    assert relay.one_click(one_click_url(mail)).status_code == 200
    assert relay.kept_out(WIM, newsletter("nog een")) == "SUPPRESSED_SENDER"
    assert relay.kept_out(WIM, newsletter("Uitnodiging"), login="events") == "SUPPRESSED_SENDER"
    confirmation = relay.passes(WIM, order(WIM), login="orders", sender="orders@acme.example")
    assert not any(name.lower().startswith("list-") for name in confirmation.message)
    body = confirmation.raw.partition(b"\r\n\r\n")[2]
    assert body == b"Uw bestelling is onderweg.\r\n"
    verify_dkim(confirmation, relay.installation)
    assert len(relay.upstream.to(WIM)) == before + 1


def test_the_page_button_stops_it_as_a_person_uses_it(relay: Relay) -> None:
    mail = relay.passes(BEA, newsletter("knop"))
    [page] = page_links(mail)["text/html"]
    shown = relay.http("GET", page).text
    form = re.search(r"(?is)<form.*?</form>", shown)
    assert form is not None
    action = re.search(r'action="([^"]*)"', form[0])
    fields = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', form[0]))
    target = relay.installation.url + (action[1] if action and action[1] else path_of(page))
    answer = relay.http("POST", target, data=fields)
    assert answer.status_code in (200, 303)
    assert relay.kept_out(BEA, newsletter("knop 2")) == "SUPPRESSED_PURPOSE"


@pytest.mark.parametrize(
    ("raw", "login", "code"),
    [
        (newsletter(sender="Evil <x@evil.example>"), "newsletter", "SENDER_IDENTITY_CONCEALED"),
        (newsletter(sender="Evil <x@sub.acme.example>"), "newsletter", "SENDER_IDENTITY_CONCEALED"),
        (b"X-Consentgate-Purpose: gossip\r\n" + newsletter(), "newsletter", "X-Consentgate-Purpose"),
        (b"X-Consentgate-Category: cars\r\n" + newsletter(), "newsletter", "X-Consentgate-Category"),
        (b"X-Consentgate-Stream: orders\r\n" + newsletter(), "newsletter", "X-Consentgate-Stream"),
        (newsletter().replace(b"text/plain", b"image/png").replace(b"text/html", b"image/png"), "newsletter",
         "UNSUBSCRIBE_NOT_INJECTABLE"),
    ],
    ids=["foreign From", "subdomain in From", "purpose", "category", "stream", "no body"],
)  # fmt: skip
def test_a_fault_of_the_message_is_loud_whatever_on_block_says(relay: Relay, raw: bytes, login: str, code: str) -> None:
    before = relay.upstream.count
    answer = relay.send([DIRK, GIJS], raw, login=login)
    assert answer[0] == 550
    assert answer[1].startswith("5.7.1 ") and code in answer[1]
    relay.passes(GIJS, newsletter("daarna"))  # the stream works on
    assert relay.upstream.count == before + 1


def test_a_refused_message_is_reported_with_its_code(relay: Relay) -> None:
    _, text = relay.send(FIEN, newsletter("vreemd", sender="Evil <x@evil.example>"))
    named = text.rpartition(" ")[2]
    [row] = [row for row in relay.blocked() if row.message_id == named]
    assert row.reason_code == "SENDER_IDENTITY_CONCEALED"
    assert row.subject == "vreemd"


@pytest.mark.parametrize(
    "field", [b"Precedence: bulk", b"List-Unsubscribe: <https://acme.example/stop>", b"List-Id: <x.acme.example>"]
)
def test_an_order_mail_that_looks_like_a_campaign_is_not_passed_silently(relay: Relay, field: bytes) -> None:
    before = relay.upstream.count
    code, text = relay.send(NIEMAND, field + b"\r\n" + order(NIEMAND), login="orders", sender="orders@acme.example")
    assert code == 550
    assert text.startswith("5.7.1 ")
    assert relay.upstream.count == before
    relay.passes(NIEMAND, order(NIEMAND), login="orders", sender="orders@acme.example")  # the same without it


def test_what_is_ours_or_hidden_does_not_leave(relay: Relay) -> None:
    raw = (
        b"X-Consentgate-Purpose: newsletter\r\nX-Consentgate-Campaign: lente\r\nX-CONSENTGATE-Made-Up: x\r\n"
        b"Bcc: geheim@example.org\r\nBCC: nog@example.org\r\nX-Mailer: listmonk\r\n"
    ) + newsletter("schoon")
    mail = relay.passes(FIEN, raw)
    names = [name.lower() for name in mail.message]
    assert not [name for name in names if name.startswith("x-consentgate") or name == "bcc"]
    assert b"geheim" not in mail.raw
    assert mail.message["X-Mailer"] == "listmonk"
    assert names.count("received") == 1
    assert re.fullmatch(r"b\+[a-z2-7]{45}@bounce\.acme\.example", mail.mail_from), "reports come back to us"
    row = relay.campaign("lente")
    assert (row.accepted, row.allowed, row.blocked) == (1, 1, 0)


def test_several_shown_recipients_become_the_one(relay: Relay) -> None:
    several = newsletter("lek").replace(
        b"To: Lezers <lezers@acme.example>", b"To: a@example.org, b@example.org\r\nCc: c@example.org"
    )
    mail = relay.passes(FIEN, several)
    assert mail.message["To"] == FIEN
    assert mail.message["Cc"] is None
    assert not {b"a@example.org", b"b@example.org", b"c@example.org"} & set(re.findall(rb"\w+@example\.org", mail.raw))
    verify_dkim(mail, relay.installation)
    shown = relay.passes(FIEN, newsletter("lijst"))
    assert shown.message["To"] == "Lezers <lezers@acme.example>"
    two = order(FIEN).replace(f"To: {FIEN}".encode(), f"To: {FIEN}\r\nCc: boekhouding@example.org".encode())
    kept = relay.passes(FIEN, two, login="orders", sender="orders@acme.example")
    assert kept.message["Cc"] == "boekhouding@example.org"


def test_the_tools_own_opt_out_fields_are_replaced(relay: Relay) -> None:
    raw = (
        b"List-Unsubscribe: <https://tool.example/u/1>, <mailto:x@tool.example>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Id: Wijn <wijn.acme.example>\r\n"
        b"Feedback-ID: 7:8:9:tool1\r\n"
    ) + newsletter("tool")
    mail = relay.passes(FIEN, raw)
    assert path_of(one_click_url(mail)).startswith("/o/")
    assert b"tool.example/u/1" not in mail.raw
    assert mail.message.get_all("List-Id") == ["Wijn <wijn.acme.example>"]
    assert mail.message.get_all("Feedback-ID") == ["7:8:9:tool1"]
    assert len(mail.message.get_all("List-Unsubscribe-Post")) == 1


def test_missing_date_and_message_id_are_added(relay: Relay) -> None:
    bare = re.sub(rb"(?m)^(Date|Message-ID): .*\r\n", b"", newsletter("kaal"))
    mail = relay.passes(FIEN, bare)
    assert re.fullmatch(r"\w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d \+0000", mail.message["Date"])
    assert re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", mail.message["Message-ID"])
    verify_dkim(mail, relay.installation)


def test_the_copies_of_one_message_differ_in_nothing_but_what_is_theirs(relay: Relay) -> None:
    three = [f"zelfde{n}@example.org" for n in range(3)]
    relay.agree(*three)
    relay.taken(three, newsletter("zelfde"))
    relay.upstream.until(lambda: all(relay.upstream.to(one) for one in three))
    copies = [relay.upstream.to(one)[0] for one in three]
    shapes = set()
    for copy in copies:
        raw = re.sub(rb"DKIM-Signature:(?:.*\r\n(?:[ \t]))*.*\r\n", b"", copy.raw)
        shapes.add(re.sub(rb"/([uowp])/[A-Za-z0-9_=\r\n-]{40,}|subject=\S+>", rb"/\1/TOKEN", raw))
    assert len(shapes) == 1
    assert len({one_click_url(copy) for copy in copies}) == 3


def test_the_campaign_report_counts_every_copy_once(make: Make, tmp_path: Path) -> None:
    installation = make(tmp_path / "installation")
    load_people(installation)
    refuses = {"RCPT TO:<dood@": "550 5.1.1 no such user"}
    load(installation, "consents", [consent("dood@example.org")])
    with relaying(installation, refuses) as relay:
        campaign = b"X-Consentgate-Campaign: tellen\r\n"
        relay.taken([*FOUR, "dood@example.org"], campaign + newsletter("tel"))
        relay.upstream.wait(2)
        relay.drained()
        [mail] = relay.upstream.to(ANNA)
        relay.one_click(one_click_url(mail))
        relay.one_click(one_click_url(mail))
        relay.taken([ANNA], campaign + newsletter("tel"))
        relay.drained()
        [row] = [row for row in installation.report("campaigns") if row["campaign"] == "tellen"]
    assert row["stream"] == "newsletter" and row["subject"] == "tel"
    counts = {name: row[name] for name in ("accepted", "allowed", "blocked", "deferred", "delivered", "bounced")}
    assert counts == {"accepted": 6, "allowed": 3, "blocked": 3, "deferred": 0, "delivered": 2, "bounced": 1}
    assert row["opted_out"] == 1
    assert row["blocked_by_reason"] == {"PRODUCT_NOT_SIMILAR": 1, "RECIPIENT_UNKNOWN": 1, "SUPPRESSED_PURPOSE": 1}


def test_the_login_name_may_choose_what_the_login_allows(make: Make, tmp_path: Path) -> None:
    installation = make(tmp_path / "installation")
    load_people(installation)
    installation.change('categories = ["wine"]\n', 'categories = ["wine", "clothing"]\n')
    with relaying(installation) as relay, relay.gateway.client("newsletter", "newsletter+.clothing") as session:
        session.sendmail("news@acme.example", [KLEED], newsletter("jassen"))
        session.sendmail("news@acme.example", [WIM], newsletter("jassen"))
        relay.upstream.wait(1)
        relay.drained()
        assert [mail.recipient for mail in relay.upstream.mails] == [KLEED]
        assert [row.reason_code for row in relay.blocked()] == ["PRODUCT_NOT_SIMILAR"]


def test_a_capture_route_keeps_what_would_have_left(make: Make, tmp_path: Path) -> None:
    installation = make(tmp_path / "installation")
    load_people(installation)
    gateway = Gateway(installation)
    try:
        gateway.start()
        _, (code, _) = gateway.send(FOUR, newsletter("gevangen"))
        assert code == 250
        gateway.eventually(lambda: gateway.log().count("captured") == 2)
    finally:
        gateway.kill()


def test_an_attachment_leaves_as_it_came(relay: Relay) -> None:
    pdf = bytes(range(256)) * 300
    raw = message(
        multipart(
            "mixed",
            leaf("Beste lezer,\r\nrode wijn.\r\n"),
            leaf(pdf, "application/pdf", cte="base64", charset=None, more="Content-Disposition: attachment\r\n"),
        )
    )
    mail = relay.passes(FIEN, raw)
    assert octets(leaves(mail.message)["2"]) == pdf
    assert octets(leaves(read(raw))["2"]) == pdf


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_leaves_ends_a_report(relay: Relay, buffered: bool) -> None:
    """`report ... | head`: exit code 1 and not a word, whether the pipe is found closed at a line or at the end."""
    relay.taken(NIEMAND, newsletter())
    env = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    for what in ("blocked", "campaigns"):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "gateway", "report", what, "--json", "--config", relay.installation.config]
        try:
            done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, env=env, check=False)
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr.decode()) == (1, "")
