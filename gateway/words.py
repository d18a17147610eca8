"""Everything that is said to people: templates and languages in, footers, sentences and pages out.

Catalogues (`templates/locale/*.po`) and templates are read once, at start; there is no compile step. Keys are names
(`done.now`), not English sentences, so that every language stands on equal footing. A missing key is a broken
promise to the reader and raises KeyError; `tests/core/test_words.py` proves that none is missing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeGuard
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateNotFound, select_autoescape
from markupsafe import Markup, escape

from gateway.config import Controller, Stream
from gateway.mail.footer import PREFERENCES, UNSUBSCRIBE, WHY, Footer
from suppression.reason_code import REMEDY

Language = Literal["nl", "en", "fr", "de"]
LANGUAGES: Final[tuple[Language, ...]] = ("nl", "en", "fr", "de")
# What a visitor without a wish gets. English is what a German or French speaker without a header is likeliest to read.
FALLBACK: Final[Language] = "en"

FOOTERS: Final = 512
"""Rendered footers that are remembered: third parties that passed addresses on may be many."""

# On what ground a mail left, as the footer and the pages word it; any other basis reads as "service".
WORDED_BASES: Final = frozenset({"opt_in", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime"})
# Grounds without consent under European law: there the right to object must be pointed out (GDPR art. 21(4)).
OBJECTED_BASES: Final = frozenset({"soft_opt_in", "charity", "b2b"})

_MARKS: Final = {"unsubscribe": UNSUBSCRIBE, "why": WHY, "preferences": PREFERENCES}

# A name put after "de" in French: "publicité d’Acme". The catalogue's own words are elided as they stand.
_ELIDED: Final = re.compile(r"\b([dD])e (?=[aeiouâàéèêëîïôû])", re.IGNORECASE)

# Whose habits dates and numbers follow; Europeans who read English write 3 June 2026.
_DATES_AND_NUMBERS: Final[Mapping[Language, str]] = {"nl": "nl_NL", "en": "en_GB", "fr": "fr_FR", "de": "de_DE"}

_LANGUAGE_RANGE: Final = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")

_LAW_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "nl": {"GDPR": "AVG", "Dir ": "Richtlijn ", "ePD": "ePrivacyrichtlijn"},
    "en": {"ePD": "ePrivacy Directive", "Dir ": "Directive "},
    "fr": {"GDPR": "RGPD", "Dir ": "Directive ", "ePD": "directive vie privée"},
    "de": {"GDPR": "DSGVO", "Dir ": "Richtlinie ", "ePD": "ePrivacy-Richtlinie"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one mail was or was not sent, for staff: what happened, the ground in words, what would change it."""

    sentence: str
    ground: str
    next_step: str


class Words:
    """All texts in four languages. Read-only after start; one object per process."""

    def __init__(self, catalogues: Mapping[Language, Mapping[str, str]], templates: Path, own: Path | None) -> None:
        self._catalogues = catalogues
        self._locales = {language: Locale.parse(_DATES_AND_NUMBERS[language]) for language in LANGUAGES}
        self._templates, self._own = templates, own
        self._environments = {(language, ""): self._environment(language, [templates]) for language in LANGUAGES}
        self._footers: dict[tuple[object, ...], Footer] = {}

    @classmethod
    def load(cls, own: Path | None = None) -> "Words":
        """Read what ships with the product. `own`: the folder with a folder per controller, whose templates win over
        ours of the same name in what that controller sends (letters, footers).

        Raises OSError where the templates are missing: a relay without words must not start.
        """
        ours = template_folder()
        return cls({language: read_catalogue(ours / "locale" / f"{language}.po") for language in LANGUAGES}, ours, own)

    def text(self, language: Language, key: str, **values: object) -> str:
        """One sentence, plain text."""
        sentence = self._catalogues[language][key]
        if not values:
            return sentence
        filled = sentence.format(**values)
        return _ELIDED.sub("\\1’", filled) if language == "fr" else filled

    def count(self, language: Language, key: str, number: int, **values: object) -> str:
        """A sentence that counts: `key.one` or `key.other` by the language's rule; `{n}` is the number, written out."""
        form = "one" if self._locales[language].plural_form(number) == "one" else "other"
        return self.text(language, f"{key}.{form}", n=self.number(language, number), **values)

    def number(self, language: Language, number: int) -> str:
        """12.400 or 12,400 or 12 400."""
        return format_decimal(number, locale=self._locales[language])

    def day(self, language: Language, at: datetime, zone: ZoneInfo) -> str:
        """As people write it: 3 juni 2026."""
        return format_date(at.astimezone(zone).date(), format="long", locale=self._locales[language])

    def moment(self, language: Language, at: datetime, zone: ZoneInfo) -> str:
        """21 nov 2026, 10:04: short enough for a table, exact enough to act on."""
        locale = self._locales[language]
        local = at.astimezone(zone)
        day = format_date(local.date(), format="medium", locale=locale)
        return f"{day}, {format_time(local, 'HH:mm', locale=locale)}"

    def entry(self, kind: str, language: Language) -> str:
        """A kind of ledger entry in a few words; one that a later version wrote is told without its name."""
        catalogue = self._catalogues[language]
        return catalogue.get(f"entry.{kind}") or catalogue["entry.other"]

    def law(self, language: Language, cite: str) -> str:
        """An article under the name the reader knows the act by: GDPR 7(3) is AVG 7(3) in Dutch."""
        for ours, theirs in _LAW_NAMES[language].items():
            cite = cite.replace(ours, theirs)
        return cite

    def purpose(self, controller: Controller, purpose: str | None, language: Language) -> str:
        """The controller's own words for a purpose in the reader's language, else in any language it has."""
        declared = controller.purposes.get(purpose) if purpose else None
        if declared is None or not declared.title:
            return self.text(language, "purpose.unnamed")
        wanted = [name for name in (language, controller.language, *LANGUAGES) if name in declared.title]
        return declared.title[wanted[0]] if wanted else next(iter(declared.title.values()))

    def why(self, controller: Controller, purpose: str | None, basis: str | None, language: Language) -> str:
        """ "You get this because ...", by the ground the mail left on."""
        worded = "none" if basis is None else basis if basis in WORDED_BASES else "service"
        title = self.purpose(controller, purpose, language)
        return self.text(language, f"because.{worded}", purpose=title, name=controller.display_name)

    def reason(self, code: str, language: Language) -> Reason:
        """A reason code as a sentence, its legal ground in words and the next step. Unknown codes raise KeyError."""
        from_ground, from_step = GROUND_AND_STEP[code]
        return Reason(
            sentence=self.text(language, f"reason.{code}"),
            ground=self.text(language, f"ground.{from_ground}"),
            next_step=self.text(language, f"step.{from_step}"),
        )

    def footer(
        self, controller: Controller, stream: Stream, basis: str | None, language: str, *, pack: str | None = None,
        purpose: str | None = None, obtained_from: str | None = None,
    ) -> Footer:  # fmt: skip
        """Who sends, why you get this, and the way out, in at most three lines on a phone; link marks inside.

        `purpose` is the message's own where it chose one, else the stream's. `pack` is the jurisdiction the mail was
        decided under. The right to object is named under BE (Royal Decree of 4 April 2003, art. 2), and to whoever is
        mailed without consent, since this may be the first message (GDPR art. 21(4)); with no pack given, a Belgian
        controller is taken to write to Belgians. A customer mailed under DE is told each time what objecting costs, or
        the exception does not hold (UWG 7(3) no. 4).
        Who sends for somebody else names both, and says who sends for whom (M1, E1; SOR/2012-36 2(1)(b)-(c)).
        `obtained_from`: who passed the address on, "" for somebody unknown: source, purpose and recipients are then
        named in every mail, since each may be the first (GDPR art. 14(2)(f), 14(3)).
        Source: RULES.md 5.1 M1-M4, M7, M8, M10.
        """
        law, chosen = pack or controller.country, self.pick([language, controller.language])
        objection = None
        if law == "DE" and basis == "soft_opt_in":
            objection = self.text(chosen, "footer.object_costs")
        elif law == "BE" or basis in OBJECTED_BASES:
            objection = self.text(chosen, "footer.object")
        because = self.why(controller, purpose or stream.purpose, basis, chosen)
        advertiser = stream.advertiser.legal_name if stream.advertiser is not None else None
        obtained = None
        if obtained_from is not None:
            obtained = self.text(
                chosen, "footer.obtained", source=obtained_from or self.text(chosen, "footer.another_company"),
                purpose=self.purpose(controller, purpose or stream.purpose, chosen), name=controller.legal_name,
            )  # fmt: skip
        # All that the footer shows, so that changed settings make a new one.
        key = (
            controller.id, controller.legal_name, controller.postal_address, controller.notice_url, because, chosen,
            objection, advertiser, obtained,
        )  # fmt: skip
        footer = self._footers.get(key)
        if footer is None:
            values = {
                "controller": controller, "because": because, "objection": objection, "marks": _MARKS,
                "advertiser": advertiser, "obtained": obtained,
            }  # fmt: skip
            text, html = (
                self.render(f"mail/footer.{form}", chosen, controller.id, **values) for form in ("txt", "html")
            )
            footer = Footer(text=text.strip(), html=html.strip())
            if len(self._footers) >= FOOTERS:
                self._footers.clear()
            self._footers[key] = footer
        return footer

    def render(self, template: str, language: Language, of: str | None = None, /, **values: object) -> str:
        """Fill one template; HTML is escaped, text is not. `of`: the controller whose own templates come first."""
        return self.template(template, language, of).render(**values)

    def template(self, template: str, language: Language, of: str | None = None) -> Template:
        """A compiled template of one language (jinja2 keeps it)."""
        return self._chosen(language, of).get_template(template)

    def has(self, template: str, language: Language, of: str | None = None) -> bool:
        """Whether there is such a template."""
        try:
            self.template(template, language, of)
        except TemplateNotFound:
            return False
        return True

    def owns(self, of: str, template: str) -> bool:
        """Whether a controller has a template of its own by this name."""
        return self._own is not None and (self._own / of / template).is_file()

    def _chosen(self, language: Language, of: str | None) -> Environment:
        """The templates of a controller; those of all where it has none of its own."""
        known = self._environments.get((language, of or ""))
        if known is None:
            known = self._environments[language, ""]
            if self._own is not None and of and (self._own / of).is_dir():
                known = self._environment(language, [self._own / of, self._templates])
            self._environments[language, of or ""] = known
        return known

    def pick(self, wishes: Iterable[str | None]) -> Language:
        """The first wish that we speak ("nl-BE" counts as "nl"), else English."""
        for wish in wishes:
            spoken = (wish or "").replace("_", "-").split("-")[0].strip().lower()
            if is_language(spoken):
                return spoken
        return FALLBACK

    def _environment(self, language: Language, folders: Sequence[Path]) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(folders), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        locale = self._locales[language]
        environment.globals.update(
            lang=language, languages=LANGUAGES, number=lambda n: self.number(language, n),
            t=lambda key, **values: self.text(language, key, **values), rich=_escaping(self, language),
            count=lambda key, n, **values: self.count(language, key, n, **values),
            law=lambda cite: self.law(language, cite),
            code=lambda text: Markup("<code>{}</code>").format(text),
            language_name=lambda code: Locale.parse(code).get_display_name(code),
            clock_time=lambda at, zone: format_datetime(at.astimezone(zone), "HH:mm", locale=locale),
            moment=lambda at, zone: self.moment(language, at, zone), day=lambda at, zone: self.day(language, at, zone),
        )  # fmt: skip
        environment.filters["sentence_case"] = sentence_case
        return environment


def _escaping(words: Words, language: Language) -> Callable[..., Markup]:
    """The templates' `rich`: sentence and values are escaped, but a value that is markup stays so (a link, a list)."""

    def translate(key: str, **values: object) -> Markup:
        return Markup(escape(words.text(language, key))).format(**values)  # noqa: S704 - escaped right here

    return translate


def is_language(code: str) -> TypeGuard[Language]:
    """Whether a code names one of our four languages."""
    return code in LANGUAGES


def accepted(header: str | None) -> list[str]:
    """Language codes of an Accept-Language field, best first (RFC 9110 12.5.4). Nonsense gives an empty list."""
    ranked = []
    for position, item in enumerate((header or "")[:512].split(",")):
        code, _, weight = item.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0 and _LANGUAGE_RANGE.fullmatch(code.strip()):
            ranked.append((-quality, position, code.strip()))
    return [code for _, _, code in sorted(ranked)]


def sentence_case(text: str) -> str:
    """With a capital first letter, the rest as it is ("de nieuwsbrief" opens a sentence as "De nieuwsbrief")."""
    return text[:1].upper() + text[1:]


def template_folder() -> Path:
    """Where templates are: beside the modules in a wheel, beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "_templates"
    return installed if installed.is_dir() else here.parent / "templates"


def read_catalogue(path: Path) -> dict[str, str]:
    """One language: key to sentence."""
    with path.open("rb") as file:
        catalogue = read_po(file)
    return {str(message.id): str(message.string) for message in catalogue if message.id}


# Reason code -> ground: keys of the catalogue. The sentence has a key per code.
_GROUNDS: Final[Mapping[str, str]] = {
    # sent
    "ALLOW_B2B_EXEMPTION": "b2b",
    "ALLOW_CHARITY_SOFT_OPT_IN": "charity",
    "ALLOW_DOI_CONFIRMATION": "confirmation",
    "ALLOW_IMPLIED_CONSENT": "implied",
    "ALLOW_MANDATORY_NOTICE": "notice",
    "ALLOW_OPT_IN": "consent",
    "ALLOW_OPT_OUT_REGIME": "opt_out_regime",
    "ALLOW_SOFT_OPT_IN": "customer",
    "ALLOW_TRANSACTIONAL": "contract",
    # the person said stop
    "COMPLAINT_RECEIVED": "object",
    "CONSENT_WITHDRAWN": "withdraw",
    "ERASED_DO_NOT_CONTACT": "erase",
    "ERASURE_PENDING": "erase",
    "EXCLUSION_REGISTER": "register",
    "OBJECTED_TO_MARKETING": "object",
    "OPT_OUT_USED_AT_COLLECTION": "object",
    "PROCESSING_RESTRICTED": "restrict",
    "SUPPRESSED_GLOBAL": "object",
    "SUPPRESSED_PURPOSE": "withdraw",
    "SUPPRESSED_SENDER": "object",
    # no ground
    "ADDRESS_HARVESTED": "before",
    "ADDRESS_NOT_FROM_SALE": "customer",
    "CHARITY_PURPOSE_NOT_SOLE": "charity",
    "CHARITY_SOFT_OPT_IN_NOT_RETROACTIVE": "charity",
    "CONSENT_EXPIRED": "storage",
    "CONSENT_NOT_YET_GIVEN": "before",
    "CONSENT_OTHER_CONTROLLER": "own_consent",
    "CONSENT_PURPOSE_MISMATCH": "purpose",
    "CONSENT_STALE": "storage",
    "CUSTOMER_RELATION_STALE": "storage",
    "DOI_EXPIRED": "storage",
    "DOI_ALREADY_SENT": "confirmation",
    "DOI_NOT_REQUESTED": "confirmation",
    "IMPLIED_CONSENT_EXPIRED": "implied",
    "NO_CONSENT_OR_CUSTOMER_RELATION": "before",
    "NO_OPT_OUT_AT_COLLECTION": "customer",
    "NO_SALE_CONTEXT": "customer",
    "OPT_OUT_MISSING_IN_EARLIER_MESSAGE": "customer",
    "RECIPIENT_UNKNOWN": "before",
    "SOFT_OPT_IN_OTHER_CONTROLLER": "customer",
    "SOFT_OPT_IN_TIME_LIMIT": "customer",
    "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT": "special",
    "TRANSACTIONAL_WITHOUT_BASIS": "contract",
    # proof
    "AGE_UNVERIFIED": "children",
    "CONSENT_BUNDLED_WITH_TERMS": "valid_consent",
    "CONSENT_NOT_ACTIVE": "valid_consent",
    "CONSENT_NOT_FREE": "valid_consent",
    "CONSENT_NOT_SPECIFIC": "valid_consent",
    "CONSENT_UNPROVEN": "proof",
    "MINOR_WITHOUT_PARENTAL_AUTHORISATION": "children",
    "NO_PRIVACY_NOTICE": "informed",
    "OPT_IN_PENDING_CONFIRMATION": "proof",
    "PURCHASED_LIST_UNVERIFIED": "proof",
    "SHARING_WITHOUT_CONSENT": "sharing",
    "THIRD_PARTY_RECIPIENT_NOT_NAMED": "sharing",
    # product
    "PRODUCT_CATEGORY_UNKNOWN": "customer",
    "PRODUCT_NOT_SIMILAR": "customer",
    "SOFT_OPT_IN_NOT_OWN_PRODUCT": "customer",
    "THIRD_PARTY_OFFER_NOT_CONSENTED": "purpose",
    # technical and settings
    "ADDRESS_UNDELIVERABLE": "accuracy",
    "AD_NOT_IDENTIFIABLE": "recognisable",
    "DKIM_UNAVAILABLE": "signing",
    "EVIDENCE_STORE_UNAVAILABLE": "accountability",
    "OPT_OUT_CONTACT_MISSING": "way_out",
    "POSTAL_ADDRESS_MISSING": "identity",
    "PURPOSE_MISSING": "purpose",
    "RECIPIENT_INVALID": "accuracy",
    "SENDER_IDENTITY_CONCEALED": "identity",
    "SENDER_IDENTITY_MISSING": "identity",
    "SENDER_NOT_AUTHORISED": "security",
    "UNCLASSIFIED_MESSAGE": "accountability",
    "UNSUBSCRIBE_NOT_INJECTABLE": "way_out",
    # set aside before any decision
    "UNPARSABLE": "accuracy",
}

# Reason code -> (ground, next step): keys of the catalogue. What is no verdict has its step here.
GROUND_AND_STEP: Final[Mapping[str, tuple[str, str]]] = {
    code: (ground, REMEDY.get(code, "tool")) for code, ground in _GROUNDS.items()
}
