"""Words as mail servers say them, brought into one form so that a phrase finds them however they are written.

"User <bob@example.net> doesn't exist." and "user does-not exist" differ in nothing that matters: addresses, case,
accents and punctuation go, white space is one blank. A phrase is looked for at the start of a word; `*` in it stands
for a few words. Plain searching, no patterns: whatever a hostile text holds, the cost is its length times the phrases'.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MOST = 4000
"""Characters of a text that are looked at."""
GAP = 60
"""Characters that a `*` may stand for."""
_TRIES = 30

# Begins where a word does: else a long word without an @ would be read again from each of its characters.
_ADDRESS = re.compile(
    r"""\[address\]|(?<![^\s<>()"',;:=\[\]{}])[^\s<>()"',;:=\[\]{}@]++@[^\s<>()"',;\[\]{}]*+""", re.IGNORECASE
)
_ASCII = str.maketrans(
    {chr(c): chr(c).lower() if chr(c).isalnum() else (None if chr(c) in "'`" else " ") for c in range(128)}
)
_CONTRACTED = {"doesnt": "does not", "didnt": "did not", "isnt": "is not", "cant": "cannot", "couldnt": "could not",
               "wasnt": "was not", "dont": "do not", "hasnt": "has not", "wont": "will not"}  # fmt: skip
_FAR_EAST = 0x2E80


def plain(text: str) -> str:
    """The text in the one form: lower case, no addresses, accents or punctuation, a blank on either side."""
    text = _ADDRESS.sub(" ", text[:MOST])
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).replace("\u2019", "").casefold()
        text = "".join(
            " " if c == "_" or not (c.isalnum() or c == "'") else c for c in text if not unicodedata.combining(c)
        )
    words = text.translate(_ASCII).split()
    return f" {' '.join([_CONTRACTED.get(word, word) for word in words])} "


class Phrases:
    """Several phrases, any of which may be there. They are brought into form when first looked for."""

    __slots__ = ("_pieces", "written")

    def __init__(self, written: Iterable[str]) -> None:
        self.written = tuple(written)
        self._pieces: tuple[tuple[str, ...], ...] | None = None

    def within(self, text: str) -> bool:
        """Whether one of them is in a text that `plain` made."""
        if self._pieces is None:
            self._pieces = tuple(tuple(map(_piece, _words(phrase))) for phrase in self.written)
        return any(pieces[0] in text and (len(pieces) == 1 or _runs(pieces, text)) for pieces in self._pieces)

    def __bool__(self) -> bool:
        return bool(self.written)


def has_words(phrase: str) -> bool:
    """Whether something is left of a phrase when it is brought into form."""
    return bool(_words(phrase))


def _words(phrase: str) -> list[str]:
    return [words for piece in phrase.split("*") if (words := plain(piece).strip())]


def _piece(words: str) -> str:
    """A piece as it is looked for: at the start of a word, but anywhere in scripts that do not part words."""
    return words if ord(words[0]) >= _FAR_EAST else f" {words}"


def _runs(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the pieces follow each other with little between. The first is tried at its first `_TRIES` places."""
    start = text.find(pieces[0])
    for _ in range(_TRIES):
        if start < 0:
            return False
        at = start + len(pieces[0])
        for piece in pieces[1:]:
            at = text.find(piece, at, at + GAP + len(piece))
            if at < 0:
                break
            at += len(piece)
        else:
            return True
        start = text.find(pieces[0], start + 1)
    return False
