"""What a person wrote back: what of it is theirs, and whether it is a wish to stop (RULES.md 5.2.8).

Quoted text goes first: a newsletter that comes back under "Thanks!" is full of "unsubscribe". What is left either is
clear (a stop word and little else, or a sentence that asks for it) or it is not, and then a person has to look.

Total: never raises; time is linear in the length of the text.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from gateway.mail.came_back import MOST_TEXT, CameBack, html_to_text, text_of
from gateway.mail.phrase import Phrases, plain

Wish = Literal["stop", "unclear"]

_FROM = "from|van|von|de|da|från|fra|od"
_NEXT = (
    r"(?:sent|date|to|subject|cc|verzonden|datum|aan|onderwerp|gesendet|an|betreff|envoy[ée]|à|a|objet|inviato|data|oggetto"
    r"|enviado|para|asunto|skickat|till|ämne|wysłano|do|temat)"
)
_WROTE = re.compile(
    r"^[ \t>*]{0,10}(?:on|op|le|am|el|il|em|den|w dniu|dne)\b[^\n]{0,400}?"
    r"\b(?:wrote|schreef|geschreven|a écrit|a ecrit|écrit|schrieb|escribió|ha scritto|escreveu|skrev|napisała?)"
    r"\b[^\n:]{0,80}:[ \t]*$",
    re.IGNORECASE,
)
_STAMP = re.compile(r"^[ \t]*\d{4}-\d\d-\d\d[^\n]{0,200}<[^<>\n]{3,320}>[ \t]*:[ \t]*$")
_RULED = (
    "original message", "original appointment", "original email", "original e-mail", "oorspronkelijk bericht",
    "oorspronkelijke bericht", "origineel bericht", "doorgestuurd bericht", "ursprüngliche nachricht",
    "ursprüngliche e-mail", "weitergeleitete nachricht", "message d'origine", "message original", "message transféré",
    "forwarded message", "reply message", "messaggio originale", "mensaje original",
)  # fmt: skip
_RULE = re.compile(
    rf"^[ \t>]{{0,10}}(?:[-_*=]{{2,40}}+[ \t]*(?:{'|'.join(map(re.escape, _RULED))})\b"
    r"|_{10,}+|begin forwarded message)",
    re.IGNORECASE,
)
_HEAD = re.compile(rf"^[ \t>*]{{0,10}}(?:{_FROM})[ \t]?\*?[ \t]?:", re.IGNORECASE)
_HEAD_NEXT = re.compile(rf"^[ \t>*]{{0,10}}{_NEXT}[ \t]?\*?[ \t]?:", re.IGNORECASE)
_DEVICES = (
    "sent from", "sent via", "sent with", "get outlook for", "download outlook", "verstuurd vanaf", "verzonden vanaf",
    "verzonden via", "verzonden met", "outlook voor", "von meinem", "gesendet von", "gesendet mit", "envoyé de",
    "envoyé depuis", "envoyé à partir", "téléchargez outlook", "inviato da", "enviado desde",
)  # fmt: skip
_DEVICE = re.compile(rf"^[ \t]*(?:{'|'.join(map(re.escape, _DEVICES))})\b", re.IGNORECASE)
_CLASSES = (
    "gmail_quote", "yahoo_quoted", "moz-cite-prefix", "protonmail_quote", "zmail_extra", "tutanota_quote",
    "quote-header",
)  # fmt: skip
_IDS = (
    "divRplyFwdMsg", "appendonsend", "x_divRplyFwdMsg", "mail-editor-reference-message-container", "stopSpelling",
    "OLK_SRC_BODY_SECTION", "reply-intro", "isReplyContent", "ms-outlook-mobile-body-separator-line",
)  # fmt: skip
_HTML_QUOTE = re.compile(
    rf"""<blockquote\b|class\s{{0,3}}=\s{{0,3}}["']?[^"'<>]{{0,100}}(?:{"|".join(_CLASSES)})"""
    rf"""|id\s{{0,3}}=\s{{0,3}}["']?(?:{"|".join(_IDS)})"""
    r"""|border-top\s{0,3}:\s{0,3}solid\s+#(?:E1E1E1|B5C4DF)\s+1\.0pt""",
    re.IGNORECASE,
)
_ELEMENT_END = re.compile(r"</blockquote\s*>", re.IGNORECASE)

STOP_WORDS: Final = frozenset((
    "unsubscribe", "unsubscribed", "unsub", "optout", "afmelden", "afmelding", "afgemeld",
    "uitschrijven", "uitschrijving", "abmelden", "abmeldung", "abbestellen", "abbestellung", "austragen",
    "desabonner", "desabonnement", "desabonnez", "desinscription", "desinscrire", "desinscrivez", "baja",
    "desuscribir", "disiscrivi", "avregistrera", "avanmeld", "avmeld", "wypisz",
))  # fmt: skip
"""Words that are a wish to stop when they stand alone, but for manners and a name."""
_SHORT_WORDS: Final = frozenset((
    "stop", "stopp", "stoppen", "stopzetten", "arretez",
    "quit", "remove", "cancel", "delete", "leave", "opzeggen", "verwijderen", "verwijder", "kundigen", "loschen",
    "streichen", "arreter", "supprimer", "resilier", "resiliation", "cancelar", "cancellami", "cancellazione",
    "rezygnuje", "peruuta",
))  # fmt: skip
"""Words that are one too, but speak of other things as often: nothing else may stand in their line but manners."""

_POLITE: Final = frozenset((
    "please", "pls", "plz", "thanks", "thank", "you", "thx", "hello", "hi", "dear", "sir", "madam", "kind", "best",
    "regards", "me", "my", "mail", "email", "e", "emails", "mails", "newsletter", "newsletters", "list", "mailing",
    "from", "this", "the", "your", "to", "all", "now", "immediately", "address", "a", "and", "of", "it", "re", "at",
    "once", "opt", "out", "that", "is", "aub", "svp", "alsjeblieft", "alstublieft", "graag", "dank", "bedankt", "bvd",
    "groet", "groeten", "met", "vriendelijke", "mvg", "hallo", "beste", "dag", "u", "mij", "mijn", "nieuwsbrief",
    "nieuwsbrieven", "van", "de", "het", "een", "voor", "deze", "uw", "jullie", "direct", "onmiddellijk", "ik", "wil",
    "me", "mailinglijst", "lijst", "adres", "per", "direkt", "nu", "aan", "dit", "s", "t", "bitte", "danke", "vielen",
    "dank", "gruss", "grusse", "freundliche", "freundlichen", "grussen", "mfg", "mich", "mir", "vom", "von", "ihrem",
    "ihren", "dem", "den", "der", "die", "das", "sofort", "sehr", "geehrte", "damen", "und", "herren", "guten", "tag",
    "liste", "adresse", "ich", "mochte", "merci", "bonjour", "cordialement", "bien", "s", "il", "vous", "plait",
    "moi", "mon", "ma", "se", "votre", "vos", "la", "le", "les", "lettre", "infolettre", "information", "d", "l",
    "je", "veux", "souhaite", "por", "favor", "gracias", "per", "favore", "grazie",
))  # fmt: skip
_ASKS = Phrases((
    "unsubscribe me", "please unsubscribe", "unsubscribe my", "unsubscribe from", "want to unsubscribe",
    "wish to unsubscribe", "like to unsubscribe", "unsubscribe this", "unsubscribe immediately", "remove me",
    "remove my", "remove this address", "please remove", "take me off", "take my * off", "delete me",
    "delete my address", "delete my email", "stop sending", "stop emailing", "stop e mailing", "stop mailing",
    "stop these", "stop this", "stop spamming", "stop bothering", "no more emails", "no more e mails",
    "no more mail", "no more newsletters", "do not email me", "do not e mail me", "do not send me", "do not mail me",
    "do not contact me", "do not want to receive", "do not wish to receive", "do not want these", "do not want your",
    "do not want any", "no longer want", "no longer wish", "not interested in receiving", "opt me out", "opt out of",
    "want to opt out", "like to opt out", "cancel my subscription", "cancel subscription", "end my subscription",
    "leave me alone", "schrijf me uit", "schrijf mij uit", "schrijf mij * uit", "schrijf me * uit",
    "mij uitschrijven", "me uitschrijven", "mij uit te schrijven", "me uit te schrijven", "graag uitschrijven",
    "graag afmelden", "graag afgemeld", "uitschrijven graag", "afmelden graag", "uitgeschreven worden",
    "afgemeld worden", "meld me af", "meld mij af", "meld mij * af", "meld me * af", "mij afmelden", "me afmelden",
    "mij af te melden", "me af te melden", "wil uitschrijven", "wil afmelden", "wil mij * uitschrijven",
    "wil me * uitschrijven", "wil mij * afmelden", "wil me * afmelden", "uitschrijven voor", "afmelden voor",
    "uitschrijven van", "afmelden van", "niet meer ontvangen", "niet langer ontvangen", "geen * meer ontvangen",
    "geen mail meer", "geen mails meer", "geen emails meer", "geen e mails meer", "geen reclame meer",
    "geen nieuwsbrief meer", "geen nieuwsbrieven meer", "geen berichten meer", "geen prijs op", "stop met",
    "stop aub", "stop a u b", "stop svp", "stop s v p", "stop alstublieft", "stop alsjeblieft", "stop graag",
    "stop deze", "stop de", "haal me van", "haal mij van", "haal mij * van de", "haal me * van de", "verwijder mij",
    "verwijder me", "verwijder mijn", "verwijder dit", "mijn * verwijderen", "niet meer mailen", "mail me niet",
    "mail mij niet", "stuur me geen", "stuur mij geen", "stuur me niets", "stuur mij niets", "laat me met rust",
    "abonnement opzeggen", "nieuwsbrief opzeggen", "abonnement stopzetten", "desabonnez moi", "desabonner moi",
    "desinscrivez moi", "me desabonner", "me desinscrire", "se desabonner", "desabonner de", "desinscrire de",
    "ne plus recevoir", "ne veux plus", "ne souhaite plus", "ne desire plus", "retirez moi", "retirer mon",
    "retirez mon", "supprimez mon", "supprimez moi", "supprimer mon", "arretez de", "arreter de m", "cessez de",
    "cessez d", "ne m envoyez plus", "ne menvoyez plus", "plus d emails", "plus de mails", "plus de mail",
    "melden sie mich", "melde mich * ab", "mich abmelden", "mich abzumelden", "mich austragen",
    "tragen sie mich * aus", "mich * austragen", "bitte abmelden", "bitte austragen", "bitte abbestellen",
    "newsletter abmelden", "newsletter abbestellen", "mochte * abmelden", "mochte * abbestellen", "will * abmelden",
    "keine mails mehr", "keine mail mehr", "keine e mails mehr", "keine emails mehr", "keine newsletter mehr",
    "keine werbung mehr", "keine weiteren", "keinen newsletter", "keine newsletter", "nicht mehr erhalten",
    "nicht mehr anschreiben", "nicht mehr zusenden", "nicht langer", "aus dem verteiler", "aus ihrem verteiler",
    "vom verteiler", "aus der liste", "loschen sie meine", "loschen sie mich", "streichen sie mich", "horen sie auf",
    "lassen sie mich in ruhe", "widerspreche", "widerruf", "darme de baja", "dar de baja", "dame de baja",
    "denme de baja", "no quiero recibir", "cancelar mi suscripcion", "cancellatemi", "cancellarmi", "non voglio piu",
    "non desidero piu", "disiscrivermi", "wypisz mnie", "prosze o wypisanie", "prosze o usuniecie", "object to",
    "maak bezwaar", "bezwaar tegen", "je m'oppose", "withdraw my consent", "trek mijn toestemming in",
    "retire mon consentement",
))  # fmt: skip
_NOT_SO = Phrases((
    "do not unsubscribe", "do not remove", "do not stop", "did not unsubscribe", "never unsubscribe",
    "not to unsubscribe", "not want to unsubscribe", "not unsubscribe", "unsubscribed by mistake", "by accident",
    "subscribe me again", "resubscribe", "keep me", "keep sending", "keep receiving", "still want", "not stop",
    "niet uitschrijven", "niet afmelden", "niet uit te schrijven",
    "niet af te melden", "niet stoppen", "schrijf * niet uit", "meld * niet af", "wil blijven ontvangen",
    "blijven ontvangen", "weer aanmelden", "opnieuw aanmelden", "per ongeluk", "niet verwijderen", "verwijder * niet",
    "nicht abmelden", "nicht abbestellen", "nicht austragen", "wieder anmelden", "weiterhin erhalten",
    "versehentlich", "aus versehen", "nicht loschen", "nicht aufhoren", "ne me desabonnez pas",
    "ne me desinscrivez pas", "ne pas me desabonner", "ne pas me desinscrire", "continuer a recevoir", "par erreur",
    "me reabonner", "ne supprimez pas", "recevoir plus de", "aimerais plus de", "voudrais plus de",
))  # fmt: skip
_RIGHTS = Phrases((
    "my data", "personal data", "personal information", "gdpr", "right to", "data protection", "my account",
    "complaint", "lawyer", "legal action", "authority", "my order", "mijn gegevens", "persoonsgegevens", "mijn data",
    "avg", "recht op", "inzage", "mijn account", "mijn bestelling", "klacht", "advocaat",
    "autoriteit persoonsgegevens", "meine daten", "personenbezogen", "dsgvo", "recht auf", "auskunft", "mein konto",
    "meine bestellung", "beschwerde", "anwalt", "mes donnees", "donnees personnelles", "rgpd", "droit d", "droit a",
    "mon compte", "ma commande", "plainte", "avocat", "cnil",
    "bestelling", "levering", "pakket", "factuur", "winkelwagen", "delivery", "invoice", "parcel", "shopping cart",
    "commande", "livraison", "facture", "colis", "panier", "bestellung", "lieferung", "rechnung", "paket", "warenkorb",
))  # fmt: skip
"""Who writes this may want more than an end to mail, or something else: erasure, access, an answer, an order that
is not to be sent. A person reads it (RULES.md 6.1), and of a clear wish nobody reads a word."""
_HOW = Phrases(("how do", "how can", "how to", "how does", "hoe kan", "hoe moet", "hoe meld", "hoe schrijf", "wie kann",
                "wie melde", "wie muss", "comment"))  # fmt: skip
_OFFERS = Phrases((
    "click here", "click the", "click below", "click on", "unsubscribe here", "you can unsubscribe",
    "if you no longer", "if you wish", "if you want", "if you do not", "if you would", "you received this",
    "you are receiving this", "view in browser", "view this email", "all rights reserved", "klik hier", "klik op",
    "als u", "als je", "indien u", "wilt u zich", "wilt u geen", "wil je je", "wil je geen", "u kunt", "je kunt",
    "u ontvangt deze", "je ontvangt deze", "cliquez", "si vous", "vous pouvez", "vous recevez",
    "pour vous desabonner", "klicken sie", "klicke hier", "hier klicken", "wenn sie", "falls sie", "sie konnen",
    "sie erhalten diese",
))  # fmt: skip
"""How a newsletter speaks to its readers: whose text holds this, quotes one or is one."""
_LONG = 150
"""Words from which on a text is read by a person even when it asks to stop."""


def wish_of(own: str, subject: str, *, answers: bool) -> Wish:
    """Whether what a person wrote is clearly a wish to stop. `own`: their text without quotes. `answers`: the subject
    is that of the mail they answer, and tells nothing about them."""
    text = plain(own)
    words = text.split()
    heading = "" if answers else plain(subject)
    if _NOT_SO.within(text) or _NOT_SO.within(heading) or len(words) > _LONG:
        return "unclear"
    if ("?" in own and _HOW.within(text)) or _OFFERS.within(text) or _RIGHTS.within(text):
        return "unclear"
    first = plain(own.split("\n", 1)[0]).split()  # behind it people write their names
    if _only_stop(words) or (len(words) <= 12 and _only_stop(first)) or _ASKS.within(text):
        return "stop"
    named = heading.split()
    asked = (_only_stop(named) or _ASKS.within(heading)) and len(named) <= 12 and "?" not in subject
    # below a subject that asks, people leave the text empty, sign it, or say a word of thanks
    return "stop" if asked and len(words) <= 40 and "?" not in own else "unclear"


def _only_stop(words: list[str]) -> bool:
    """A stop word (or "opt out"), and nothing else but manners and a name."""
    if not words or len(words) > 25:
        return False
    others = [word for word in words if word not in _POLITE]
    if STOP_WORDS.intersection(others) or "opt out" in " ".join(words):
        return sum(word not in STOP_WORDS and word not in _SHORT_WORDS for word in others) <= 4
    return bool(others) and _SHORT_WORDS.issuperset(others)


def speaks_of_stopping(own: str) -> bool:
    """Whether any word of it is one that people use to stop."""
    return not (STOP_WORDS | _SHORT_WORDS).isdisjoint(plain(own).split())


def own_words(mail: CameBack) -> str:
    """What the writer wrote: quotes, signature and "sent from my phone" taken out, of the text or else of the HTML."""
    for part in mail.parts:
        if part.type == b"text/plain" and part.disposition[0] != b"attachment":
            own = without_quotes(text_of(part))
            if own or not any(other.type == b"text/html" for other in mail.parts):
                return own
        if part.type == b"text/html" and part.disposition[0] != b"attachment":
            return without_quotes(html_to_text(_unquoted(text_of(part))))
    return ""


def _unquoted(page: str) -> str:
    """An HTML page up to its first quote, and what stands behind the last `</blockquote>` (answers below)."""
    found = _HTML_QUOTE.search(page[:MOST_TEXT])
    if found is None:
        return page
    start = page.rfind("<", 0, found.start() + 1)
    ends = list(_ELEMENT_END.finditer(page, found.start()))
    below = page[ends[-1].end() :] if ends and page.startswith("<blockquote", start) else ""
    return f"{page[: max(start, 0)]}\n{below}"


def without_quotes(text: str) -> str:
    """The lines that the writer added."""
    lines = text.replace("\xa0", " ").split("\n")
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.lstrip()[:1] == ">" or _DEVICE.match(line):
            at += 1
        elif span := _introduction(lines, at):
            at += span
            following = next((later for later in lines[at : at + 5] if later.strip()), "")
            if following.lstrip()[:1] != ">":
                break
        elif line.rstrip("\r") in ("-- ", "--") or _RULE.match(line) or _is_head(lines, at):
            break
        else:
            kept.append(line)
            at += 1
    return "\n".join(kept).strip()


def _introduction(lines: list[str], at: int) -> int:
    """How many lines "On ... wrote:" takes here, folded by the mail program as it likes; 0 when there is none."""
    joined = ""
    for span in range(1, 5):
        if at + span > len(lines):
            return 0
        piece = lines[at + span - 1].strip()
        if span > 1 and not piece:
            return 0
        joined = f"{joined} {piece}"[:900]
        if joined.rstrip().endswith(":") and (_WROTE.match(joined) or _STAMP.match(joined)):
            return span
    return 0


def _is_head(lines: list[str], at: int) -> bool:
    """Whether Outlook's block begins here: From, and two more of its fields in the lines behind."""
    if not _HEAD.match(lines[at]):
        return False
    return sum(_HEAD_NEXT.match(line) is not None for line in lines[at + 1 : at + 7]) >= 2
