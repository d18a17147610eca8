"""What newsletter tools and mail providers write, a mail in the form of each: the campaign it gives, and the tool."""

import pytest

from gateway.mail.classify import Kind, classify
from gateway.mail.control_fields import OWNERS, owner_of
from gateway.mail.list_headers import plan_head
from gateway.mail.mime import parse
from tests.core.test_classify import NEWS, RULES, STREAMS

ONE = "0b7a3f5e-6f3c-4b5e-9a4d-1c2d3e4f5a6b"
TWO = "7c1de0f2-93aa-4c0e-8a55-aaaabbbbcccc"
POST = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
BULK = "Precedence: bulk"

# name of the row, fields as the tool writes them, campaign ("" for the fingerprint), what named it, tool
ROWS = [
    ("listmonk", [f"X-Listmonk-Campaign: {ONE}", f"X-Listmonk-Subscriber: {TWO}", POST,
                  f"List-Unsubscribe: <https://l.example/subscription/{ONE}/{TWO}>"],
     ONE, "X-Listmonk-Campaign", "listmonk"),
    ("listmonk, privacy mode", [f"List-Unsubscribe: <https://l.example/subscription/{ONE}/{TWO}>", POST],
     ONE, "List-Unsubscribe", "listmonk"),
    ("Mautic", ["X-EMAIL-ID: 42", "Precedence: Bulk", POST,
                "List-Unsubscribe: <https://m.example/email/unsubscribe/63f1aa0b1c2d3/bob/0a1b2c>"],
     "42", "X-EMAIL-ID", "Mautic"),
    ("phpList", ["X-MessageID: 17", "X-ListMember: bob@example.org", BULK, "List-Owner: <mailto:a@acme.example>",
                 "List-Help: <https://p.example/lists/?p=preferences&uid=0af3>",
                 "List-Unsubscribe: <https://p.example/lists/?p=unsubscribe&uid=0af3&jo=1>",
                 "Feedback-ID: 17:acme:phplist:phplist"],
     "17", "X-MessageID", "phpList"),
    ("phpList, of the system", ["X-MessageID: systemmessage", "X-ListMember: bob@example.org"],
     "", "fingerprint", "phpList systemmessage"),
    ("Mailtrain", ["List-ID: \"Acme letter\" <Ks81dfLm.mailtrain.acme.example>", "X-FBL: aBcD1.Ks81dfLm.sUbS3",
                   'X-MSYS-API: {"campaign_id":"aBcD1.Ks81dfLm.sUbS3"}',
                   'X-SMTPAPI: {"unique_args":{"campaign_id":"aBcD1.Ks81dfLm.sUbS3"}}',
                   'X-Mailgun-Variables: {"campaign_id":"aBcD1.Ks81dfLm.sUbS3"}'],
     "aBcD1", "X-FBL", "Mailtrain"),
    ("CiviMail", ["X-CiviMail-Bounce: b.12.345.0123456789abcdef@civi.example", BULK, "Feedback-ID: 988:12:civi:civi"],
     "job-12", "X-CiviMail-Bounce", "CiviMail"),
    ("MailWizz", ["X-Mw-Campaign-Uid: ab123cd456ef1", "X-Mw-Subscriber-Uid: zz987yy654xx3", BULK,
                  "Feedback-ID: ab123cd456ef1:zz987yy654xx3:lu123:cu1"],
     "ab123cd456ef1", "X-Mw-Campaign-Uid", "MailWizz"),
    ("Keila", ["List-Unsubscribe: <https://k.example/unsubscribe/np_abC12/nr_xYz9/h4Sh>", POST, "Precedence: Bulk"],
     "", "fingerprint", "Keila"),
    ("Odoo, a record", ["X-Odoo-Objects: sale.order-1201"], "", "fingerprint", "Odoo sale.order"),
    ("Odoo, a mailing", ["X-Odoo-Objects: mailing.contact-88", POST,
                         "List-Unsubscribe: <https://o.example/mailing/7/unsubscribe_oneclick?document_id=88&x=b>"],
     "7", "List-Unsubscribe", "Odoo mailing.contact"),
    ("Mailman", ["List-Id: Friends of wine <friends.lists.acme.example>", "Precedence: list",
                 "X-Mailman-Version: 3.3.9",
                 "List-Post: <mailto:friends@lists.acme.example>", "List-Unsubscribe: <mailto:leave@acme.example>"],
     "friends.lists.acme.example", "List-Id", "Mailman"),
    ("Sympa", ["List-Id: <friends.lists.acme.example>", "Precedence: list", "X-Loop: friends@acme.example",
               "X-Sequence: 12", "List-Post: <mailto:friends@lists.acme.example>"],
     "friends.lists.acme.example", "List-Id", "Sympa"),
    ("Ghost", [f"List-Unsubscribe: <https://g.example/unsubscribe/?uuid={ONE}&newsletter={TWO}>, <mailto:u@a.example>",
               POST],
     "", "fingerprint", "Ghost"),
    ("Acelle", ["X-Acelle-Message-Id: 202611220548.63f1.acme"], "", "fingerprint", "Acelle"),
    ("Sendy", ["List-Unsubscribe: <https://s.example/unsubscribe/Zm9vYmFyYmF6cXV4/8921bcdefgh763/k7m892Abcd8763xy>"],
     "k7m892Abcd8763xy", "List-Unsubscribe", "Sendy"),
    ("MailPoet", ["List-Unsubscribe: <https://w.example/?mailpoet_router&endpoint=subscription&action=unsubscribe>",
                  POST],
     "", "fingerprint", "MailPoet"),
    ("MailPoet, with the add-on", ["X-MailPoet-Newsletter-ID: 31"], "31", "X-MailPoet-Newsletter-ID", "MailPoet"),
    ("Mailchimp", ["X-Campaign: mailchimp1a2b3c.4d5e6f", "X-campaignid: mailchimp1a2b3c.4d5e6f", "X-MC-User: 1a2b3c",
                   "List-ID: 1a2b3cmc list <1a2b3c.9.list-id.mcsv.net>", "Feedback-ID: 273:273.4d5e6f:us7:mc"],
     "mailchimp1a2b3c.4d5e6f", "X-campaignid", "Mailchimp"),
    ("Mailchimp, forwarded", ["Feedback-ID: 273:273.4d5e6f:us7:mc"], "4d5e6f", "Feedback-ID", "Mailchimp"),
    ("Rapidmail", ["Feedback-ID: 4411:882:acme:rm", "X-CSA-Complaints: csa-complaints@eco.de",
                   "X-Complaints-To: abuse@rapidmail.example"],
     "4411", "Feedback-ID", "Rapidmail"),
    ("SES, tags", ["X-SES-CONFIGURATION-SET: bulk", "X-SES-MESSAGE-TAGS: env=prod, campaign=spring-26"],
     "spring-26", "X-SES-MESSAGE-TAGS", None),
    ("SES, topic", ["X-SES-CONFIGURATION-SET: bulk", "X-SES-LIST-MANAGEMENT-OPTIONS: shoppers; topic=offers"],
     "offers", "X-SES-LIST-MANAGEMENT-OPTIONS", None),
    ("SES, set", ["X-SES-CONFIGURATION-SET: bulk", "X-SES-TENANT: acme"], "bulk", "X-SES-CONFIGURATION-SET", None),
    ("SES, tenant", ["X-SES-TENANT: acme"], "acme", "X-SES-TENANT", None),
    ("Mailgun", ["X-Mailgun-Tag: spring", "X-Mailgun-Tag: wine", "X-Mailgun-Track: yes", "X-Mailgun-Dkim: yes"],
     "spring", "X-Mailgun-Tag", None),
    ("Mailgun, variables", ['X-Mailgun-Variables: {"person": 9, "campaign": "c-9"}', "X-Mailgun-Tag: wine"],
     "c-9", "X-Mailgun-Variables", None),
    ("Postmark, tag", ["X-PM-Message-Stream: broadcast", "X-PM-Tag: spring", "X-PM-TrackOpens: true"],
     "spring", "X-PM-Tag", None),
    ("Postmark, stream", ["X-PM-Message-Stream: broadcast", "X-PM-Metadata-person: 9"],
     "broadcast", "X-PM-Message-Stream", None),
    ("Postmark, metadata", ["X-PM-Tag: t", "X-PM-Metadata-campaign: c4"], "c4", "X-PM-Metadata-campaign", None),
    ("SendGrid", ['X-SMTPAPI: {"category": ["spring", "wine"], "asm_group_id": 12, "asm_groups_to_display": [12, 13]}'],
     "spring", "X-SMTPAPI", None),
    ("SendGrid, group", ['X-SMTPAPI: {"asm_group_id": 12,\r\n "asm_groups_to_display": [12, 13]}'],
     "asm-12", "X-SMTPAPI", None),
    ("Mandrill", ["X-MC-Tags: spring, wine", "X-MC-Subaccount: acme"], "spring", "X-MC-Tags", None),
    ("Mandrill, metadata", ['X-MC-Metadata: {"campaign": "c5"}', "X-MC-Tags: t"], "c5", "X-MC-Metadata", None),
    ("Mandrill, account", ["X-MC-Subaccount: acme"], "acme", "X-MC-Subaccount", None),
    ("SparkPost", ['X-MSYS-API: {"campaign_id": "spring", "options": {"transactional": false}}'],
     "spring", "X-MSYS-API", None),
    ("Mailjet", ["X-Mailjet-Campaign: spring", "X-Mailjet-DeduplicateCampaign: 1", "X-MJ-CustomID: x1"],
     "spring", "X-Mailjet-Campaign", None),
    ("Mailjet, payload", ['X-MJ-EventPayload: {"campaign": "c6"}'], "c6", "X-MJ-EventPayload", None),
    ("Brevo", ["X-Mailin-Tag: spring", "X-Mailin-custom: person:9|campaign:c7"], "spring", "X-Mailin-Tag", None),
    ("Brevo, custom", ["X-Mailin-custom: person:9|campaign:c7"], "c7", "X-Mailin-custom", None),
    ("Postal", ["X-Postal-Tag: spring"], "spring", "X-Postal-Tag", None),
    ("any, list", ["List-Id: The letter <letter.acme.example>", "Feedback-ID: f:a:b:s"],
     "letter.acme.example", "List-Id", None),
    ("any, feedback", ["Feedback-ID: spring:a:b:s", BULK, "X-Mailer: Blaster 9"], "spring", "Feedback-ID", None),
    ("any, campaign", ["X-Campaign-Id: spring", "List-Id: <l.acme.example>"], "spring", "X-Campaign-Id", None),
    ("nothing", ["X-Entity-Ref-ID: 991", "X-Mailer: Blaster 9", "Auto-Submitted: auto-generated"],
     "", "fingerprint", None),
]  # fmt: skip


def mail(*fields: str) -> bytes:
    head = ["From: Acme <news@acme.example>", "To: Bob <bob@example.org>", "Subject: Spring wine", *fields]
    return "\r\n".join([*head, "", "body", ""]).encode()


def kind_of(*fields: str) -> Kind:
    kind = classify(parse(mail(*fields)), NEWS, STREAMS, None, RULES)
    assert isinstance(kind, Kind), kind
    return kind


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_row_of_the_table(row: tuple[str, list[str], str, str, str | None]) -> None:
    _, fields, campaign, place, tool = row
    kind = kind_of(*fields)
    assert kind.campaign == campaign if campaign else kind.campaign.startswith("fp-")
    assert f"campaign {place}" in kind.matched
    assert [said for said in kind.matched if said.startswith("tool ")] == ([f"tool {tool}"] if tool else [])
    assert not any("bob" in said or "aa0b1c" in said for said in (*kind.matched, kind.campaign)), "nobody is named"


def test_the_campaign_is_the_same_for_every_recipient() -> None:
    """Where a tool writes per-person values, none of them is in the campaign."""
    for name, fields, *_ in ROWS:
        swaps = [(TWO, ONE.replace("0", "9")), ("345.0123456789abcdef", "346.fedcba9876543210"), ("sUbS3", "oThEr"),
                 ("uid=0af3", "uid=1be4"), ("nr_xYz9/h4Sh", "nr_q/zz"), ("Zm9vYmFyYmF6cXV4", "QQQQYmFyYmF6cXV4"),
                 ("contact-88", "contact-89"), ("document_id=88", "document_id=89"), (f"uuid={ONE}", f"uuid={TWO}"),
                 ("zz987yy654xx3", "aa987yy654xx3"), ("63f1aa0b1c2d3", "99f1aa0b1c2d3")]  # fmt: skip
        other = fields
        for old, new in swaps:
            other = [field.replace(old, new) for field in other]
        assert kind_of(*fields).campaign == kind_of(*other).campaign, name


def test_orders_to_a_provider_go_to_that_provider_alone() -> None:
    fields = {
        "ses": "X-SES-CONFIGURATION-SET: bulk", "mailgun": "X-Mailgun-Tag: spring", "postmark": "X-PM-Tag: spring",
        "sendgrid": 'X-SMTPAPI: {"category": "x"}', "mandrill": "X-MC-Tags: spring",
        "sparkpost": 'X-MSYS-API: {"campaign_id": "x"}', "mailjet": "X-MJ-CustomID: 7", "brevo": "X-Mailin-Tag: spring",
        "postal": "X-Postal-Tag: spring",
    }  # fmt: skip
    assert fields.keys() == OWNERS.keys()
    raw = mail(*fields.values(), "X-Mailer: Blaster 9", "X-Mailgun-Incoming: Yes")
    names = {name: field.partition(":")[0].lower().encode() for name, field in fields.items()}
    for provider in (None, *fields):
        head = plan_head(parse(raw), marketing=True, show_to="auto", provider=provider)
        gone = {raw[edit.start : edit.end].partition(b":")[0].lower() for edit in head.removals}
        assert gone == {name for owner, name in names.items() if owner != provider}


def test_secrets_never_leave() -> None:
    armour = "-----BEGIN RSA PRIVATE KEY-----"
    folded = f'x-mailtrain-dkim: {{"keySelector":"k",\r\n "privateKey":"{armour}\\nMII"}}'
    own = ["X-Postmark-Server-Token: 63f1", "Authorization: Bearer abc", "X-Key-Id: 4"]
    raw = mail(folded, f"X-Whatever: {armour}", *own)
    for provider in (None, "postmark"):
        head = plan_head(parse(raw), marketing=False, show_to="auto", provider=provider)
        gone = {raw[edit.start : edit.end].partition(b":")[0].lower() for edit in head.removals}
        assert gone == {b"x-mailtrain-dkim", b"x-whatever", b"x-postmark-server-token", b"authorization"}
    assert not plan_head(parse(mail() + b"PRIVATE KEY"), marketing=False, show_to="auto").removals, (
        "in the text it stays"
    )


@pytest.mark.parametrize(
    ("hosts", "provider"),
    [
        (["email-smtp.eu-west-1.amazonaws.com"], "ses"),
        (["smtp.eu.mailgun.org", "SMTP.mailgun.org."], "mailgun"),
        (["smtp-broadcasts.postmarkapp.com"], "postmark"),
        (["smtp.sendgrid.net"], "sendgrid"),
        (["smtp.mandrillapp.com"], "mandrill"),
        (["smtp.eu.sparkpostmail.com"], "sparkpost"),
        (["in-v3.mailjet.com"], "mailjet"),
        (["smtp-relay.brevo.com"], "brevo"),
        (["smtp-relay.sendinblue.com"], "brevo"),
        (["smtp.sendgrid.net", "smtp.mailgun.org"], None),
        (["smtp.sendgrid.net.evil.example"], None),
        (["notsendgrid.net"], None),
        (["127.0.0.1"], None),
        ([], None),
    ],
)
def test_a_provider_is_known_by_its_hosts(hosts: list[str], provider: str | None) -> None:
    assert owner_of(hosts) == provider
