"""How a message was recognised, in words: what classify.py kept with it as `KIND WHAT` (Kind.matched), for staff."""

from collections.abc import Iterable
from typing import Final

from gateway.words import Language, Words

_PLACES: Final = {
    "login": "matched.by.login", "login suffix": "matched.by.suffix", "stream": "matched.by.stream",
    "fingerprint": "matched.by.fingerprint",
}  # fmt: skip
_KINDS: Final = frozenset({"stream", "purpose", "category", "campaign", "transaction", "promotional", "test", "tool"})
_UNMAPPED: Final = "unknown, unmapped link to "


def recognised(words: Words, language: Language, matched: Iterable[str]) -> list[str]:
    """A sentence for each thing that was recognised. What a later version wrote is told as it stands."""
    return [_sentence(words, language, said) for said in matched]


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
