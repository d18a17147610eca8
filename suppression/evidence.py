"""What proves a consent: the exact wording a person was shown, and how good the proof is as a whole.

A consent record names a version of a wording; the wording itself is kept once, by its digest, and never changed:
whoever has to show later what somebody agreed to shows these bytes (GDPR art. 7(1); RULES.md 4.1, "wording version").

A grade says how a controller would stand if it had to prove the consent tomorrow. It is shown and reported; it decides
nothing: what may be sent is basis.py's business.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from suppression.basis import OWN_SOURCES
from suppression.consent import Consent
from suppression.fields import FactsError
from suppression.ledger import encode

WORDING_BYTES: Final = 256 * 1024
"""A wording is a form, not a web site: at most this long as canonical JSON (bytes)."""
STAFF_METHOD: Final = "entered by staff"
"""`evidence.method` of a consent that staff wrote down; pages say it in the reader's language."""
SPOKEN: Final = "spoken or written, see origin"
"""`evidence.wording_version` of such a consent where no wording was named."""
NAME_LENGTH: Final = 200
"""Characters in the name of a wording version; a consent carries it as `evidence.wording_version`."""
DIGEST_BYTES: Final = 32

Level = Literal["bare", "weak", "good", "strong"]
LEVELS: Final[tuple[Level, ...]] = ("bare", "weak", "good", "strong")
"""From the weakest proof to the strongest."""
Lack = Literal["time", "method", "wording", "origin", "action", "provenance", "wording_on_file", "mailbox"]
LACKS: Final[Mapping[Lack, str]] = {
    "time": "the time it was given is not known",
    "method": "how it was given is not known",
    "wording": "the version of the wording is not known",
    "origin": "where it was given is not known",
    "action": "what the person did to agree is not known",
    "provenance": "the list of a third party was not verified by both seller and buyer",
    "wording_on_file": "the wording it names is not on file",
    "mailbox": "it was not confirmed from the mailbox (double opt-in)",
}
"""What a proof may lack, from what weighs most to what weighs least."""

LayoutType = Literal["text/plain", "text/html"]
_LAYOUT_TYPES: Final[tuple[LayoutType, ...]] = ("text/plain", "text/html")


class WordingError(ValueError):
    """A wording that cannot be kept; the text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing a person could agree to: a tick box, a line to sign, a question asked.

    `purpose`: what it was for, None where it was none of ours (say, passing data to third parties). `text`: the exact
    words beside it; empty: they stand in the layout. `ticked`: how the box stood when it was shown; None: no box.
    """

    purpose: str | None
    text: str
    ticked: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a person was shown before they agreed.

    `name`: the version as consents name it; one name stands for one content for ever. `language`: a BCP 47 tag.
    `layout`: the form as shown: a description, or a snapshot of its HTML. `notice_version`, `notice_url`: the privacy
    notice it linked to. None: not known. The name is no part of what is hashed: the same form may have two names.
    """

    name: str
    language: str | None
    choices: tuple[Choice, ...]
    layout: str
    layout_type: LayoutType
    notice_version: str | None
    notice_url: str | None

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name != self.name.strip() or len(self.name) > NAME_LENGTH:
            raise WordingError(f"a wording needs a name of 1 to {NAME_LENGTH} characters, without space around it")
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in self.name):
            raise WordingError("the name of a wording has control characters in it")
        _layout_type(self.layout_type)
        if not self.layout.strip() and not any(choice.text.strip() for choice in self.choices):
            raise WordingError("a wording without any text proves nothing: give what the person was shown")
        try:
            size = len(self.content())
        except UnicodeEncodeError:
            raise WordingError("the wording holds halves of characters (surrogates): save it as UTF-8") from None
        if size > WORDING_BYTES:
            raise WordingError(
                f"the wording is {size} bytes long, over {WORDING_BYTES}: leave out pictures, scripts and styles"
            )

    @property
    def purposes(self) -> tuple[str, ...]:
        """The purposes it asked for, in order, each once."""
        return tuple(dict.fromkeys(choice.purpose for choice in self.choices if choice.purpose is not None))

    def content(self) -> bytes:
        """Everything but the name, as canonical JSON: the bytes that are hashed and kept."""
        return encode({
            "language": self.language,
            "choices": [{"purpose": c.purpose, "text": c.text, "ticked": c.ticked} for c in self.choices],
            "layout": self.layout, "layout_type": self.layout_type, "notice_version": self.notice_version,
            "notice_url": self.notice_url,
        })  # fmt: skip

    def digest(self) -> bytes:
        """SHA-256 of the content (32 bytes)."""
        return hashlib.sha256(self.content()).digest()

    def named(self, name: str) -> "Wording":
        """The same content under another name."""
        return replace(self, name=name)

    @classmethod
    def from_content(cls, name: str, content: bytes) -> "Wording":
        """A wording from the bytes that are kept. FactsError where they are none."""
        try:
            return cls.from_dict(name, json.loads(content))
        except ValueError as wrong:
            raise FactsError("wording", f"is none: {wrong}") from None

    @classmethod
    def from_dict(cls, name: str, said: Any) -> "Wording":
        """A wording from an object with the fields of `content`. FactsError names what is wrong, WordingError too."""
        fields = _object(said, "wording", _FIELDS)
        choices = fields["choices"]
        if not isinstance(choices, list):
            raise FactsError("choices", "must be a list")
        return cls(
            name=name, language=_text_or_none(fields, "language"), layout=_text(fields, "layout"),
            layout_type=_layout_type(_text(fields, "layout_type")),
            notice_version=_text_or_none(fields, "notice_version"), notice_url=_text_or_none(fields, "notice_url"),
            choices=tuple(_choice(one, f"choices[{n}]") for n, one in enumerate(choices)),
        )  # fmt: skip


_FIELDS: Final[Mapping[str, Any]] = {
    "language": None, "choices": [], "layout": "", "layout_type": "text/plain", "notice_version": None,
    "notice_url": None,
}  # fmt: skip
_CHOICE: Final[Mapping[str, Any]] = {"purpose": None, "text": "", "ticked": None}


def _layout_type(said: str) -> LayoutType:
    for known in _LAYOUT_TYPES:
        if said == known:
            return known
    raise WordingError(f"a layout is {' or '.join(_LAYOUT_TYPES)}")


def _choice(said: Any, path: str) -> Choice:
    fields = _object(said, path, _CHOICE)
    ticked = fields["ticked"]
    if ticked is not None and not isinstance(ticked, bool):
        raise FactsError(f"{path}.ticked", "must be true, false or null")
    return Choice(purpose=_text_or_none(fields, "purpose", path), text=_text(fields, "text", path), ticked=ticked)


def _object(said: Any, path: str, known: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise FactsError(path, "must be an object")
    if odd := sorted(set(said) - set(known)):
        raise FactsError(f"{path}.{odd[0]}", f"is not a field. Known: {', '.join(known)}")
    return {**known, **said}


def _text(fields: Mapping[str, Any], name: str, within: str = "wording") -> str:
    if not isinstance(value := fields[name], str):
        raise FactsError(f"{within}.{name}", "must be text")
    return value


def _text_or_none(fields: Mapping[str, Any], name: str, within: str = "wording") -> str | None:
    value = fields[name]
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise FactsError(f"{within}.{name}", "must be text that is not empty, or null")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How good the proof of one consent is. `lacks`: what would raise it, in the order of LACKS."""

    level: Level
    lacks: tuple[Lack, ...]

    @property
    def rank(self) -> int:
        """0 for the weakest level, to compare."""
        return LEVELS.index(self.level)


def grade(consent: Consent, *, wording_on_file: bool) -> Grade:
    """How good the proof of a consent is. Total; more evidence never lowers it.

    strong: the record is complete, the wording is on file, and the mailbox confirmed. good: complete, and one of these
    two. weak: a time is known. bare: not even that. A record is complete with time, method, wording version, origin and
    kind of act (RULES.md D1 check 7); one from a third party also with the checks of seller and buyer (4.1).
    """
    evidence, confirmation = consent.evidence, consent.double_opt_in
    asked_at, confirmed_at = confirmation.requested_at, confirmation.confirmed_at
    shown = wording_on_file and bool(evidence.wording_version)
    proved = asked_at is not None and confirmed_at is not None and asked_at <= confirmed_at
    has: dict[Lack, bool] = {
        "time": consent.given_at is not None,
        "method": bool(evidence.method),
        "wording": bool(evidence.wording_version),
        "origin": bool(evidence.origin),
        "action": consent.action != "unknown",
        "provenance": consent.source in OWN_SOURCES or (consent.seller_verified and consent.buyer_verified),
    }
    complete = all(has.values())
    lacks = [lack for lack, there in has.items() if not there]
    if has["wording"] and not shown:
        lacks.append("wording_on_file")
    if not proved:
        lacks.append("mailbox")
    level: Level = "bare"
    if complete and shown and proved:
        level = "strong"
    elif complete and (shown or proved):
        level = "good"
    elif has["time"] or confirmed_at is not None:
        level = "weak"
    return Grade(level=level, lacks=tuple(lacks))


def outweighs(known: Consent, said: Consent) -> bool:
    """Whether a record proves what another statement of the same consent leaves out, which then must not replace it.

    Only where the statement takes nothing back: one that is withdrawn, names fewer purposes or categories, ends sooner,
    or comes from a list that is no longer verified, counts, whatever it proves.
    """
    had, has = (set(grade(one, wording_on_file=False).lacks) - {"wording_on_file"} for one in (known, said))
    lost = has - had
    if known.withdrawn_at is not None or said.withdrawn_at is not None or "provenance" in lost or _narrows(known, said):
        return False
    notice = known.evidence.privacy_notice_version is not None and said.evidence.privacy_notice_version is None
    return bool(lost) or notice or bool(known.purposes and not said.purposes)


def _narrows(known: Consent, said: Consent) -> bool:
    fewer = bool(said.purposes) and not set(known.purposes) <= set(said.purposes)
    categories = said.product_categories is not None and (
        known.product_categories is None or not set(known.product_categories) <= set(said.product_categories)
    )
    sooner = said.expires_at is not None and (known.expires_at is None or said.expires_at < known.expires_at)
    return fewer or categories or sooner
