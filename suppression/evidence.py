"""What proves a consent: the exact wording a person was shown.

A consent record names a version of a wording; the wording itself is kept once, by its digest, and never changed:
whoever has to show later what somebody agreed to shows these bytes (GDPR art. 7(1); RULES.md 4.1, "wording version").
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from suppression.fields import FactsError
from suppression.ledger import encode

WORDING_BYTES: Final = 256 * 1024
"""A wording is a form, not a web site: at most this long as canonical JSON (bytes)."""
NAME_LENGTH: Final = 200
"""Characters in the name of a wording version; a consent carries it as `evidence.wording_version`."""
DIGEST_BYTES: Final = 32

LayoutType = Literal["text/plain", "text/html"]
_LAYOUT_TYPES: Final = ("text/plain", "text/html")


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
        if self.layout_type not in _LAYOUT_TYPES:
            raise WordingError(f"a layout is {' or '.join(_LAYOUT_TYPES)}")
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
            layout_type=_text(fields, "layout_type"),  # type: ignore[arg-type]
            notice_version=_text_or_none(fields, "notice_version"), notice_url=_text_or_none(fields, "notice_url"),
            choices=tuple(_choice(one, f"choices[{n}]") for n, one in enumerate(choices)),
        )  # fmt: skip


_FIELDS: Final[Mapping[str, Any]] = {
    "language": None, "choices": [], "layout": "", "layout_type": "text/plain", "notice_version": None,
    "notice_url": None,
}  # fmt: skip
_CHOICE: Final[Mapping[str, Any]] = {"purpose": None, "text": "", "ticked": None}


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
