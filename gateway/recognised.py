"""How a message was recognised, in words: what classify.py kept with it as `KIND WHAT` (Kind.matched), for staff."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.mail.promotional import Sign
from gateway.words import Language, Words

_PLACES: Final = {
    "login": "matched.by.login", "login suffix": "matched.by.suffix", "stream": "matched.by.stream",
    "fingerprint": "matched.by.fingerprint",
}  # fmt: skip
_KINDS: Final = frozenset({"stream", "purpose", "category", "campaign", "transaction", "test", "tool"})
_UNMAPPED: Final = "unknown, unmapped link to "


def recognised(words: Words, language: Language, matched: Iterable[str]) -> list[str]:
    """A sentence for each thing that was recognised. What a later version wrote is told as it stands."""
    return [_sentence(words, language, said) for said in matched]


def doubt(words: Words, language: Language, kind: Mapping[str, Any]) -> str | None:
    """Why service mail was taken for advertising, and what was done; None where it was not. `kind`: weigh.Case."""
    handling = kind.get("handling")
    if not handling:
        return None
    because = words.text(language, "mislabelled.because", signs=listed(words, language, kind.get("signs", ())))
    return f"{because} {words.text(language, f'mislabelled.{handling}')}"


def listed(words: Words, language: Language, signs: Iterable[str]) -> str:
    """Stored signs in words, the weightiest first."""
    found = sorted(map(Sign.read, signs), key=lambda sign: -sign.points)
    return "; ".join(words.text(language, f"sign.{sign.name}", what=sign.what.replace("#", "…")) for sign in found)


def _sentence(words: Words, language: Language, said: str) -> str:
    kind, _, what = said.partition(" ")
    if kind not in _KINDS:
        return words.text(language, "matched.own")
    if kind == "category":
        return _category(words, language, what)
    if kind == "tool":
        named = words.text(language, "matched.by.list") if what == "discussion list" else what
        return words.text(language, "matched.tool", what=named)
    return words.text(language, f"matched.{kind}", what=_place(words, language, what))


def _category(words: Words, language: Language, what: str) -> str:
    if what.startswith(_UNMAPPED):
        return words.text(language, "matched.unmapped", host=what.removeprefix(_UNMAPPED))
    name, _, rest = what.partition(" ")
    how, _, pattern = rest.partition(" ")
    if how not in ("link", "subject") or not pattern:
        return words.text(language, "matched.category", what=_place(words, language, what))
    by = words.text(language, f"matched.by.{how}", name=pattern)
    return words.text(language, "matched.one_category", name=name, what=by)


def _place(words: Words, language: Language, what: str) -> str:
    if what in _PLACES:
        return words.text(language, _PLACES[what])
    return words.text(language, "matched.by.field", name=what)
