"""What delivery reports tell is read as they tell it: in the standard form, bent forms of it, and plain words."""

from datetime import UTC, datetime

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.came_back import TOKEN_LENGTH, bare_address, html_to_text, is_redacted, open_message
from gateway.mail.delivery_report import stage_of
from gateway.mail.event import Event, Recipient
from gateway.mail.returned import read
from suppression.link_token import LENGTH

RULES = read_bounce_rules()
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
DAEMON = "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: b+x@bounce.acme.example\n"


def event_of(text: str, *, verbatim: bool = True) -> Event:
    return read(text.encode(), rules=RULES, at=NOW, verbatim=verbatim)


def report(status_part: str, words: str = "Sorry.", returned: str = "") -> str:
    last = f"--=b\nContent-Type: message/rfc822\n\n{returned}\n" if returned else ""
    return (
        f"{DAEMON}Subject: Undelivered\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=b"\n\n'
        f"--=b\nContent-Type: text/plain; charset=utf-8\n\n{words}\n"
        f"--=b\nContent-Type: message/delivery-status\n\n{status_part}\n{last}--=b--\n"
    )


def plain(words: str, *, subject: str = "failure notice", returned: str = "") -> str:
    return f"{DAEMON}Subject: {subject}\n\n{words}\n{returned}"


def short(one: Recipient) -> tuple[str | None, str | None, str | None, str, str, bool]:
    return one.address, one.action, one.status, one.bounce_class, one.reason, one.undeliverable


HEADER = "Reporting-MTA: dns; mx.example.net\nArrival-Date: Mon, 2 Mar 2026 10:00:00 +0000\n\n"
STANDARD = {
    "as RFC 3464 has it": (
        HEADER + "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <bob@example.net>: no such user\n",
        [("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "several recipients, each with its own fate": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.2.2\n\n"
        "Final-Recipient: rfc822;b@example.net\nAction: delayed\nStatus: 4.4.1\n\n"
        "Final-Recipient: rfc822;c@example.net\nAction: relayed\nStatus: 2.0.0\n",
        [
            ("a@example.net", "failed", "5.2.2", "hard", "mailbox-full", False),
            ("b@example.net", "delayed", "4.4.1", "delayed", "network", False),
            ("c@example.net", "relayed", "2.0.0", "none", "delivered", False),
        ],
    ),
    "no blank line between recipients": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Final-Recipient: rfc822;b@example.net\nAction: failed\nStatus: 5.7.1\n",
        [
            ("a@example.net", "failed", "5.1.1", "hard", "unknown-user", True),
            ("b@example.net", "failed", "5.7.1", "hard", "policy", False),
        ],
    ),
    "no blank line behind the first group": (
        "Reporting-MTA: dns; mx.example.net\nFinal-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.1.2\n",
        [("a@example.net", "failed", "5.1.2", "hard", "unknown-host", True)],
    ),
    "blank lines within a recipient": (
        HEADER + "\n\nOriginal-Recipient:rfc822;a@example.net\n\nFinal-Recipient:rfc822;a@example.net\n"
        "Action:failed\nStatus:5.1.1\n\n\n",
        [("a@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "folded, commented, in capitals, without address types": (
        HEADER + "FINAL-RECIPIENT: <a@example.net> (Alice)\nACTION: Failed (for good)\nSTATUS: 5.1.1 (bad mailbox)\n"
        "DIAGNOSTIC-CODE: smtp;\n 550 5.1.1\n  unknown user\n",
        [("a@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "an action that no standard knows": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: deliverable\nStatus: 2.1.5\n",
        [("a@example.net", "delivered", "2.1.5", "none", "delivered", False)],
    ),
    "an action for all of them": (
        HEADER.rstrip() + "\nAction: failed\n\nFinal-Recipient: rfc822;a@example.net\nStatus: 4.7.0\n",
        [("a@example.net", "failed", "4.7.0", "soft", "policy", False)],
    ),
    "fields that stand apart from their recipient": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\n\nStatus: 5.1.1\n",
        [("a@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "only Original-Recipient, no action": (
        HEADER + "Original-Recipient: rfc822;a@example.net\nStatus: 5.5.0\nDiagnostic-Code: smtp;550 not taken\n",
        [("a@example.net", None, "5.5.0", "hard", "protocol", False)],
    ),
    "an address in UTF-8 (RFC 6533)": (
        HEADER + "Final-Recipient: utf-8; j\\x{F6}rg@example.net\nAction: failed\nStatus: 5.1.1\n",
        [("jörg@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "no status; the code is in the words": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nDiagnostic-Code: smtp; 550 5.2.2 full\n",
        [("a@example.net", "failed", "5.2.2", "hard", "mailbox-full", False)],
    ),
    "neither status nor code": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\n",
        [("a@example.net", "failed", None, "hard", "undefined", False)],
    ),
    "given up after a temporary error": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 4.4.7\n",
        [("a@example.net", "failed", "4.4.7", "soft", "expired", False)],
    ),
    "user unknown for now": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 4.1.1\n"
        "Diagnostic-Code: smtp; 450 4.1.1 user unknown\n",
        [("a@example.net", "failed", "4.1.1", "soft", "unknown-user", False)],
    ),
    "the words are more telling than the status: full": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 552 5.2.2 over quota\n",
        [("a@example.net", "failed", "5.1.1", "hard", "mailbox-full", False)],
    ),
    "the words are more telling than the status: policy": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 your host is on our block list\n",
        [("a@example.net", "failed", "5.1.1", "hard", "blocked", False)],
    ),
    "vague status, telling words": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.0.0\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\n",
        [("a@example.net", "failed", "5.0.0", "hard", "unknown-user", True)],
    ),
    "the reporting server's own knowledge": (
        HEADER + "Final-Recipient: rfc822;a@example.net\nAction: failed\nStatus: 5.0.0\n"
        "Diagnostic-Code: X-Notes; Benutzer nicht gefunden: a (a@example.net) existiert nicht im Verzeichnis\n",
        [("a@example.net", "failed", "5.0.0", "hard", "unknown-user", True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", STANDARD)
def test_the_standard_form_and_what_people_make_of_it(form: str) -> None:
    status_part, wanted = STANDARD[form]
    event = event_of(report(status_part))
    assert event.kind == "bounce"
    assert [short(one) for one in event.recipients] == wanted


@pytest.mark.parametrize(
    ("behind", "dead"),
    [
        ("(in reply to RCPT TO command)", True),
        ("(in reply to end of DATA command)", False),
        ("", False),
    ],
)
def test_user_unknown_without_a_code_counts_as_an_answer_to_rcpt_only(behind: str, dead: bool) -> None:
    """Behind DATA it is what the filters of several providers say of mail that they do not want."""
    status_part = HEADER + (
        "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.0.0\n"
        "Diagnostic-Code: smtp; 550 Unknown user bob@example.net\n"
    )
    words = f"<bob@example.net>: host mx.example.net said:\n    550 Unknown user bob@example.net {behind}\n"
    [one] = event_of(report(status_part, words)).recipients
    assert (one.reason, one.undeliverable) == ("unknown-user", dead)


def test_what_the_text_says_counts_against_a_code_that_calls_the_address_dead() -> None:
    status_part = HEADER + "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n"
    [one] = event_of(report(status_part, "Your message was turned away: not enough disk space")).recipients
    assert (one.reason, one.undeliverable) == ("mailbox-full", False)


def test_what_the_text_says_of_another_address_does_not() -> None:
    status_part = HEADER + (
        "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n\n"
        "Final-Recipient: rfc822; eve@example.net\nAction: failed\nStatus: 5.2.2\n"
    )
    words = "<bob@example.net>: there is nobody of that name\n\n<eve@example.net>: mailbox full\n"
    bob, eve = event_of(report(status_part, words)).recipients
    assert (bob.undeliverable, eve.reason, eve.undeliverable) == (True, "mailbox-full", False)


def test_several_status_parts_are_all_read() -> None:
    one = HEADER + "Final-Recipient: rfc822; {}@example.net\nAction: failed\nStatus: 5.1.1\n"
    both = one.format("a") + "\n--=b\nContent-Type: message/delivery-status\n\n" + one.format("b")
    assert [r.address for r in event_of(report(both)).recipients] == ["a@example.net", "b@example.net"]


def test_a_status_part_under_a_wrong_type_is_read() -> None:
    text = report(HEADER + "Final-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\n")
    [one] = event_of(text.replace("message/delivery-status", "text/plain")).recipients
    assert short(one) == ("a@example.net", "failed", "5.1.1", "hard", "unknown-user", True)


def test_a_report_that_a_gateway_attached_is_read() -> None:
    inner = report(HEADER + "Final-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\n")
    outer = (
        f"{DAEMON}Subject: Delivery failed\nContent-Type: multipart/mixed; boundary=outer\n\n"
        f"--outer\nContent-Type: message/rfc822\n\n{inner}\n--outer--\n"
    )
    [one] = event_of(outer).recipients
    assert (one.address, one.status) == ("a@example.net", "5.1.1")


GONE = "failed", "hard", "unknown-user", True
COPY = "\nReturn-Path: <news@acme.example>\nReceived: from x by y\nMessage-ID: <1@acme.example>\nTo: bob@example.net\n"
PLAIN = {
    "qmail's way": (
        ("Hi. This is the mail program at mx.example.net.\nI could not deliver your message.\n\n"
        "<bob@example.net>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 nobody here\n\n"
        f"--- Below this line is a copy of the message.\n{COPY}"),
        [("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "qmail's own code in parentheses": (
        "<bob@example.net>:\nSorry, no mailbox here by that name. (#5.1.1)\n",
        [("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "Exim's way, two recipients": (
        ("A message that you sent could not be delivered to all of its recipients.\n\n"
        "  bob@example.net\n    SMTP error from remote mail server after RCPT TO:<bob@example.net>:\n"
        "    host mx.example.net [192.0.2.1]: 550 5.1.1 nobody here\n"
        "  eve@example.net\n    mailbox is full: retry timeout exceeded\n\n"
        f"------ This is a copy of the message, including all the headers. ------\n{COPY}"),
        [
            ("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True),
            ("eve@example.net", "failed", None, "hard", "mailbox-full", False),
        ],
    ),
    "Exim gave up waiting": (
        "This is a permanent error. The following address failed:\n\n  bob@example.net\n    retry timeout exceeded\n",
        [("bob@example.net", "failed", None, "soft", "expired", False)],
    ),
    "no such domain": (
        "The following address failed:\n\n  bob@example.invalid\n    Unrouteable address\n",
        [("bob@example.invalid", "failed", None, "hard", "unknown-user", True)],
    ),
    "Sendmail's transcript": (
        ("   ----- The following addresses had permanent fatal errors -----\n<bob@example.net>\n\n"
        "   ----- Transcript of session follows -----\n... while talking to mx.example.net.:\n"
        ">>> RCPT To:<bob@example.net>\n<<< 550 5.1.1 <bob@example.net>... User unknown\n"),
        [("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "Exchange's way": (
        ("Your message\n\n  To:      news@acme.example\n  Subject: Wine\n  Sent:    Mon, 2 Mar 2026\n\n"
        "did not reach the following recipient(s):\n\nbob@example.net on Mon, 2 Mar 2026 10:00:00 +0000\n"
        "    The recipient name is not recognized\n"),
        [("bob@example.net", "failed", None, "hard", "unknown-user", True)],
    ),
    "reason first, recipients behind": (
        ("Your message could not be delivered because of\n\n550 5.1.1 User unknown\n\n"
        "The following recipients were affected:\n    bob@example.net\n    eve@example.net\n"),
        [
            ("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True),
            ("eve@example.net", "failed", "5.1.1", "hard", "unknown-user", True),
        ],
    ),
    "details as a list": (
        ("Message details:\n  MAIL FROM: news@acme.example\n  RCPT TO: bob@example.net\n\nError message below:\n"
        "550 - Requested action not taken: no such user here\n"),
        [("bob@example.net", "failed", None, "hard", "unknown-user", True)],
    ),
    "a sentence": (
        "Unable to deliver message to: <bob@example.net>\nServer mx.example.net failed with: 552 5.2.2 over quota\n",
        [("bob@example.net", "failed", "5.2.2", "hard", "mailbox-full", False)],
    ),
    "a session": (
        "Sent <<< RCPT TO:<bob@example.net>\nReceived >>> 550 5.1.1 unknown user\n\nUnable to deliver message.\n",
        [("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "a sentence before the header of the mail, far from it": (
        "The original message was received on Monday\nfrom news.acme.example\n\n"
        "---The following addresses had delivery errors---\nbob@example.net [User unknown]\n\n" + COPY,
        [("bob@example.net", "failed", None, "hard", "unknown-user", True)],
    ),
    "the text above contradicts the words": (
        ("The account is temporarily over quota.\n\nRecipient: <bob@example.net>\n>>> RCPT TO:<bob@example.net>\n"
        "<<< 550 <bob@example.net>: User unknown\n"),
        [("bob@example.net", "failed", None, "hard", "mailbox-full", False)],
    ),
    "a daemon of another name": (
        ("1 error: the server <mx.example.net> rejected recipient <bob@example.net>\n"
        "(Error following RCPT command). It responded: [550 5.1.1 User unknown]\n"),
        [("bob@example.net", "failed", "5.1.1", "hard", "unknown-user", True)],
    ),
    "still being tried": (
        ("This is a warning message only. You do not need to resend.\n\nbob@example.net\n  connection timed out\n\n"
        "Delivery attempts will continue to be made for 3 days.\n"),
        [("bob@example.net", "delayed", None, "delayed", "network", False)],
    ),
    "in German": (
        "Ihre Nachricht konnte nicht zugestellt werden:\n\n<bob@example.net>: Empfänger unbekannt\n",
        [("bob@example.net", "failed", None, "hard", "unknown-user", True)],
    ),
    "in French": (
        "Votre message n'a pas pu être remis :\n\n<bob@example.net> : boîte aux lettres pleine\n",
        [("bob@example.net", "failed", None, "hard", "mailbox-full", False)],
    ),
    "in Dutch": (
        "Uw bericht kon niet worden bezorgd:\n\n<bob@example.net>: onbekende gebruiker\n",
        [("bob@example.net", "failed", None, "hard", "unknown-user", True)],
    ),
    "in Russian": (
        "Ваше письмо не может быть доставлено получателю:\n\n  bob@example.net\n    нет такого пользователя\n",
        [("bob@example.net", "failed", None, "hard", "unknown-user", True)],
    ),
    "nobody named but in the mail that came back": (
        f"The message could not be delivered, the mailbox is full.\n\n--- Original message follows ---\n{COPY}",
        [("bob@example.net", "failed", None, "hard", "mailbox-full", False)],
    ),
    "nobody named at all": (
        "The message could not be delivered.\n",
        [(None, "failed", None, "hard", "undefined", False)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", PLAIN)
def test_bounces_in_plain_words(form: str) -> None:
    words, wanted = PLAIN[form]
    event = event_of(plain(words))
    assert event.kind == "bounce"
    assert [short(one) for one in event.recipients] == wanted


def test_the_subject_too_says_that_a_mail_is_only_late() -> None:
    words = "The following address has not been reached yet:\n\nbob@example.net\n  451 greylisted\n"
    [one] = event_of(plain(words, subject="Warning: message 1abc-2 delayed 24 hours")).recipients
    assert (one.action, one.bounce_class, one.undeliverable) == ("delayed", "delayed", False)


def test_a_bounce_in_html_alone_is_read() -> None:
    page = "<html><style>p {}</style><p>Delivery failed.</p><p>bob@example.net</p><p>550 5.1.1 user unknown</p></html>"
    text = f"{DAEMON}Subject: Undeliverable\nContent-Type: text/html\n\n{page}"
    [one] = event_of(text).recipients
    assert (one.address, one.status) == ("bob@example.net", "5.1.1")


def test_failed_recipients_in_the_header_are_believed_first() -> None:
    text = (
        f"X-Failed-Recipients: bob@example.net,\n eve@example.net\n{plain('Delivery failed. 550 5.1.1 no such user')}"
    )
    assert [one.address for one in event_of(text).recipients] == ["bob@example.net", "eve@example.net"]


def test_iso_2022_jp_is_read_also_where_nobody_says_so() -> None:
    words = "bob@example.net\nディレクトリのリストにありません\n".encode("iso2022_jp")
    raw = f"{DAEMON}Subject: Undeliverable\n\n".encode() + words
    [one] = read(raw, rules=RULES, at=NOW).recipients
    assert (one.reason, one.undeliverable) == ("unknown-user", True)


def test_a_diagnostic_has_no_address_unless_asked_for() -> None:
    text = report(
        HEADER + "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <bob@example.net>: mailbox bob does not exist\n"
    )
    assert event_of(text).recipients[0].diagnostic == "550 5.1.1 <bob@example.net>: mailbox bob does not exist"
    hidden = event_of(text, verbatim=False).recipients[0].diagnostic
    assert hidden == "550 5.1.1 <[address]>: mailbox [address] does not exist"


def test_what_tells_the_mail_and_its_copy() -> None:
    token = "Ab9_-" * 16 + "xyz"
    assert len(token) == TOKEN_LENGTH == LENGTH
    returned = (
        "Return-Path: <b+abcdefghijklmnopqrstuvwxyz234567abcdefg@bounce.acme.example>\n"
        "Message-ID: <first@acme.example>\n"
        f"Message-ID: <last@acme.example>\nFrom: Acme <news@acme.example>\nTo: Bob <bob@example.net>\n"
        f"List-Unsubscribe: <https://u.acme.example/o/{token}>,\n"
        f" <mailto:unsub@bounce.acme.example?subject={token}>\n\nHi\n"
    )
    original = event_of(
        report(HEADER + "Final-Recipient: rfc822;b@example.net\nStatus: 5.1.1\n", returned=returned)
    ).original
    assert original.tokens == (token,)
    assert original.return_ids == ("abcdefghijklmnopqrstuvwxyz234567abcdefg",)
    assert original.message_ids[0] == "<last@acme.example>"
    assert (original.author, original.recipient) == ("news@acme.example", "bob@example.net")


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; bob@example.net", "bob@example.net"),
        ('"Bob, the builder" <bob@example.net>', "bob@example.net"),
        ("<bob@example.net>.", "bob@example.net"),
        ("nobody", None),
        ("https://example.net/@bob", None),
        ("", None),
    ],
)
def test_addresses_are_found_in_values(value: str, address: str | None) -> None:
    assert bare_address(value) == address


def test_redacted_addresses_are_nobody() -> None:
    assert is_redacted("redacted@example.net") and is_redacted("***@example.net")
    assert not is_redacted("bob@example.net") and not is_redacted("redactie@example.net")


def test_pages_are_read_without_scripts_styles_and_comments() -> None:
    page = (
        "<head><title>x</title></head><script>a()</script><!-- b --><p>one&nbsp;<b>two</b></p>"
        "<style>c{}</style>three<br>four"
    )
    assert html_to_text(page).split() == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    ("text", "words", "stage"),
    [
        (">>> RCPT To:<a@b>\n<<< 550 no such user", "550 no such user", "rcpt"),
        (">>> DATA\n<<< 550 no such user", "550 no such user", "data"),
        ("host said: 550 no (in reply to MAIL FROM command)", "550 no", "mail"),
        ("host said: 550 no", "550 no", None),
    ],
)
def test_the_command_that_was_being_answered(text: str, words: str, stage: str | None) -> None:
    assert stage_of(text, words) == stage


def test_line_ends_are_mended_and_text_without_a_header_is_text() -> None:
    assert open_message(b"Subject: a\nX: b\rY: c\r\n\r\nbody\nline").field(b"y") == "c"
    assert open_message(b"no header here\n\nbut text").written.startswith("no header here")
    assert open_message(b"").written == ""
