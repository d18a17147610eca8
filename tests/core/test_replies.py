"""A wish to stop is heard in what a person wrote, never in what they quote, and machines wish nothing."""

from datetime import UTC, datetime

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.event import Event
from gateway.mail.human_reply import without_quotes
from gateway.mail.returned import read

RULES = read_bounce_rules()
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
NEWSLETTER = "Dear reader,\nwine is on sale. Stop by!\nTo unsubscribe, click here: afmelden, désabonner, abmelden.\n"
QUOTED = "".join(f"> {line}\n" for line in NEWSLETTER.splitlines())


def reply(text: str, *, subject: str = "Re: Wine on sale", fields: str = "", kind: str = "text/plain") -> Event:
    raw = (
        f"From: Bob Builder <bob@example.net>\nTo: b+x@bounce.acme.example\nSubject: {subject}\n{fields}"
        f"In-Reply-To: <1@acme.example>\nContent-Type: {kind}; charset=utf-8\n\n{text}"
    )
    return read(raw.encode(), rules=RULES, at=NOW)


STOPS = [
    "stop", "STOP!!", "Stop.", "unsubscribe", "Unsubscribe please",
    "Please unsubscribe me from this list, thanks. Bob", "Take me off your mailing list",
    "I no longer wish to receive these emails.", "please remove me", "remove", "Please cancel!", "verwijderen aub",
    "don't send me any more of this", "I want to opt out", "opt out", "afmelden", "Afmelden aub",
    "uitschrijven graag!", "Graag wil ik mij uitschrijven voor de nieuwsbrief.",
    "Hallo, ik wil deze nieuwsbrief niet meer ontvangen. Groet, Bob", "Schrijf mij alstublieft uit", "Meld me af svp",
    "geen mail meer aub", "Wilt u mij uitschrijven?", "Kunt u mij afmelden aub?", "Please stop it",
    "Stop\n\nBob Builder", "Verwijder mij uit uw bestand", "Stop met deze mails", "Stop a.u.b. met deze mails.",
    "se désabonner",
    "Désabonnement SVP", "Désabonnez-moi s'il vous plaît", "Je ne souhaite plus recevoir vos courriels.",
    "Merci de me désinscrire de votre liste", "desinscription", "abmelden", "Bitte abmelden!",
    "Bitte melden Sie mich ab.", "Ich möchte den Newsletter abbestellen. MfG Bob", "Keine E-Mails mehr bitte",
    "Nehmen Sie mich aus dem Verteiler", "austragen", "Je m'oppose à la publicité", "Plus de mails svp",
    "Ik maak bezwaar tegen reclame", "Ich widerspreche der Werbung", "I object to marketing",
]  # fmt: skip


@pytest.mark.parametrize("text", STOPS)
def test_a_wish_to_stop_is_heard(text: str) -> None:
    for own in (text, f"{text}\n\nOn Mon, 2 Mar 2026 at 10:00, Acme <news@acme.example> wrote:\n{QUOTED}"):
        event = reply(own)
        assert (event.kind, event.needs_person) == ("unsubscribe", False)
        assert [one.address for one in event.recipients] == ["bob@example.net"]


UNCLEAR = [
    "Thanks, lovely wines!", "", "Where is your shop?", "How do I unsubscribe my late husband?",
    "Don't stop, I love it", "Please do not unsubscribe me", "Ik wil me niet afmelden hoor",
    "Niet uitschrijven, per ongeluk geklikt", "Ne me désabonnez pas", "Bitte nicht abmelden",
    "Can you stop by our office on Monday to talk about the order?", "We hebben de bestelling nog niet gekregen",
    "Please cancel my order", "Delete all my personal data and unsubscribe me",
    "Verwijder mijn gegevens (AVG) en schrijf mij uit", "Löschen Sie mich und erteilen Sie Auskunft nach DSGVO",
    "Retirez-moi de la liste et supprimez mes données", "leave it with the neighbours", "Please stop by tomorrow",
    "Wilt u zich afmelden? Klik hier.", "Stop met de bestelling van de wijn graag",
    "Graag nog de factuur, en geen reclame meer", "Verwijder dit product uit mijn winkelwagen",
    "I do not want any delay with the delivery", "J'aimerais recevoir plus de mails",
]  # fmt: skip


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_is_not_clear_goes_to_a_person(text: str) -> None:
    event = reply(f"{text}\n\nOp ma 2 mrt 2026 om 10:00 schreef Acme <news@acme.example>:\n\n{QUOTED}")
    assert (event.kind, event.needs_person) == ("other", True)
    assert event.recipients[0].address == "bob@example.net"


QUOTES = {
    "English": f"Nice!\n\nOn Mon, Mar 2, 2026 at 10:00 AM Acme <news@acme.example> wrote:\n{QUOTED}",
    "folded over two lines": f"Nice!\n\nOn Mon, Mar 2, 2026 at 10:00 AM Acme\n<news@acme.example> wrote:\n{QUOTED}",
    "Dutch": f"Nice!\n\nOp ma 2 mrt 2026 om 10:00 schreef Acme <news@acme.example>:\n{QUOTED}",
    "French": f"Nice!\n\nLe lun. 2 mars 2026 à 10:00, Acme <news@acme.example> a écrit :\n{QUOTED}",
    "German": f"Nice!\n\nAm 02.03.2026 um 10:00 schrieb Acme:\n{QUOTED}",
    "not marked": f"Nice!\n\nOn Mon, Mar 2, 2026 at 10:00 AM Acme wrote:\n\n{NEWSLETTER}",
    "Outlook's block": f"Nice!\n\nFrom: Acme\nSent: Monday\nTo: Bob\nSubject: Wine\n\n{NEWSLETTER}",
    "Outlook's block in Dutch": f"Nice!\n\nVan: Acme\nVerzonden: maandag\nAan: Bob\nOnderwerp: Wijn\n\n{NEWSLETTER}",
    "Outlook's block in German": f"Nice!\n\nVon: Acme\nGesendet: Montag\nAn: Bob\nBetreff: Wein\n\n{NEWSLETTER}",
    "Outlook's block in French": f"Nice!\n\nDe : Acme\nEnvoyé : lundi\nÀ : Bob\nObjet : Vin\n\n{NEWSLETTER}",
    "a ruler": f"Nice!\n\n-----Original Message-----\n{NEWSLETTER}",
    "a ruler in Dutch": f"Nice!\n\n-----Oorspronkelijk bericht-----\n{NEWSLETTER}",
    "a line of underscores": f"Nice!\n\n________________________________\n{NEWSLETTER}",
    "a signature": f"Nice!\n-- \nBob, editor of Unsubscribe Weekly\n{NEWSLETTER}",
    "from a phone": "Nice!\nSent from my iPhone\n",
    "answers below": f"On Mon, Mar 2, 2026 at 10:00 AM Acme wrote:\n{QUOTED}\nNice!\n",
}


@pytest.mark.parametrize("form", QUOTES)
def test_quoted_text_is_cut(form: str) -> None:
    assert without_quotes(QUOTES[form]) == "Nice!"


def test_a_reply_in_html_is_cut_too() -> None:
    ways = [
        '<div>{}</div><br><div class="gmail_quote"><div>On Monday Acme wrote:</div><blockquote>{}</blockquote></div>',
        '<div>{}</div><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Acme</div>{}',
        '<p>{}</p><div style="border:none;border-top:solid #E1E1E1 1.0pt"><b>From:</b> Acme</div>{}',
        "<blockquote type=cite>{1}</blockquote><p>{0}</p>",
    ]
    for way in ways:
        for text, kind in (("Thanks!", "other"), ("Afmelden graag", "unsubscribe")):
            assert reply(way.format(text, NEWSLETTER), kind="text/html").kind == kind, way


def test_of_two_forms_the_text_is_read_unless_it_is_empty() -> None:
    for text, page, kind in (("stop", "<p>hello</p>", "unsubscribe"), ("", "<p>please unsubscribe</p>", "unsubscribe")):
        body = f"--b\nContent-Type: text/plain\n\n{text}\n--b\nContent-Type: text/html\n\n{page}\n--b--\n"
        assert reply(body, kind="multipart/alternative; boundary=b").kind == kind


@pytest.mark.parametrize(
    "subject", ["unsubscribe", "Afmelden", "uitschrijven nieuwsbrief", "STOP", "désabonner", "Abmelden"]
)
def test_a_subject_of_their_own_counts_and_one_they_answer_does_not(subject: str) -> None:
    assert reply("", subject=subject).kind == "unsubscribe"
    assert reply("Bob", subject=subject).kind == "unsubscribe"
    assert reply("Thanks for the wine", subject=f"Re: {subject}").kind == "other"


def test_an_opt_out_that_a_mail_program_wrote_is_one_although_it_says_automatic() -> None:
    event = reply(
        "Mail sent this message to unsubscribe.\n", subject="unsubscribe", fields="Auto-Submitted: auto-replied\n"
    )
    assert event.kind == "unsubscribe"
    token = "Ab9_-" * 16 + "xyz"
    event = reply("", subject=token, fields="Auto-Submitted: auto-generated\n")
    assert (event.kind, event.original.tokens) == ("unsubscribe", (token,))


AUTOMATIC = {
    "by RFC 3834": ("Hello", "I am away until May.", "Auto-Submitted: auto-replied\n"),
    "by another field": ("Hello", "I am away until May.", "X-Autoreply: yes\n"),
    "by precedence": ("Hello", "I am away until May.", "Precedence: auto_reply\n"),
    "by subject": ("Automatic reply: Wine on sale", "I'm back in May. To stop the press, call Eve.", ""),
    "by subject, Dutch": ("Automatisch antwoord: Wijn", "Ik ben er weer in mei.", ""),
    "by subject, also Dutch": ("Afwezig: Wijn in de aanbieding", "Tot mei.", ""),
    "by subject, French": ("Réponse automatique : Vin", "Je reviens en mai.", ""),
    "by subject, German": ("Abwesenheitsnotiz: Wein", "Bis Mai.", ""),
    "by its words": ("Re: Wine on sale", "I am currently out of the office and will reply when I return.", ""),
    "by its words, Dutch": ("Re: Wijn", "Ik ben afwezig tot en met 4 mei.", ""),
    "by its words, French": ("Re: Vin", "Je suis absente du bureau jusqu'au 4 mai.", ""),
    "by its words, German": ("AW: Wein", "Ich bin bis 4. Mai im Urlaub und nicht erreichbar.", ""),
    "from nobody": ("Out of office: wine", "Back soon.", "Return-Path: <>\n"),
}


@pytest.mark.parametrize("form", AUTOMATIC)
def test_machines_wish_nothing(form: str) -> None:
    subject, text, fields = AUTOMATIC[form]
    event = reply(f"{text}\n\n{QUOTED}", subject=subject, fields=fields)
    assert (event.kind, event.needs_person) == ("auto-reply", False)


def test_a_token_in_the_mail_that_a_machine_quotes_is_not_passed_on() -> None:
    token = "Ab9_-" * 16 + "xyz"
    event = reply(f"I am away.\n> https://u.example/o/{token}\n", fields="Auto-Submitted: auto-replied\n")
    assert (event.kind, event.original.tokens) == ("auto-reply", ())


def test_a_person_who_answers_from_holiday_is_heard() -> None:
    event = reply("I am on holiday and you still mail me. Unsubscribe me!", subject="Re: Vacation deals")
    assert event.kind == "unsubscribe"
    assert reply("Nice offer", subject="Re: Vacation deals: out of office").kind == "other"


def test_a_receipt_is_automatic() -> None:
    body = "--b\nContent-Type: text/plain\n\nYour message was displayed.\n--b--\n"
    event = reply(body, kind="multipart/report; report-type=disposition-notification; boundary=b")
    assert event.kind == "auto-reply"


def test_somebodys_newsletter_is_nobodys_wish() -> None:
    raw = b"From: x@shop.example\nSubject: Buy!\nList-Id: <x.shop.example>\nPrecedence: bulk\n\nGreat prices.\n"
    event = read(raw, rules=RULES, at=NOW)
    assert (event.kind, event.needs_person) == ("other", False)
