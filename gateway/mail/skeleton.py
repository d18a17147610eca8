"""The text that a reader is shown, in one form: words without case and accents, numbers as marks, addresses gone.

Two uses: looking for wording, and a fingerprint of the text as it is the same for everybody it goes to (skeleton):
without numbers, links, addresses, the recipient's name and the greeting. Linear in the text, which is bounded; total.

Known limit: a personal word in the middle of a text, that is neither number nor the name in To, makes another skeleton.
"""

import hashlib
import html
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from gateway.mail.mime import Message
from gateway.mail.shown import displayed, read_leaf

LONGEST = 96 * 1024
"""Octets of the displayed leaf that are read: what it costs does not grow with the mail."""
SHORTEST = 12
"""Words below which a text is too short to be like another: no skeleton."""

_HIDDEN = (b"head", b"style", b"script", b"template")
_TAG = re.compile(r"<[^<>]*+>")
_ADDRESSES = tuple(map(re.compile, (r"https?://[^\s<>\"']++", r"www\.[^\s<>\"']++", r"@[^\s<>@]{1,255}+")))
"""Each begins with what it is searched by: together in one expression they take forty times as long."""
_WORD = re.compile(r"[^\W_]++|[#%€]")
_MARKS = re.compile(r"[\u0300-\u036f\u200b-\u200f\u034f\xad\ufeff]+")
"""Accents, and what is put between letters so that no one finds the word: nothing of either is seen."""
_GREETING = re.compile(
    r"\b(beste|geachte|dag|hoi|dear|hi|hello|hey|bonjour|bonsoir|cher|chere|hallo|liebe[rs]?|geehrte[rs]?)\b"
    r"[^,.!?:;<>\n]{0,60}[,.!:\n]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The displayed text. `words`: in the one form; `code`: the leaf's decoded octets, lower case, links and all;
    `ungreeted`: the words without the subject's and without whom a greeting names."""

    words: tuple[str, ...]
    code: bytes
    ungreeted: tuple[str, ...]

    @property
    def line(self) -> str:
        """The words with a blank between them and at either end."""
        return f" {' '.join(self.words)} "


def shown_text(message: Message, subject: str) -> Text:
    """What is displayed: the HTML leaf where there is one, else the text; the subject before it."""
    shown = displayed(message)
    part = shown.html or shown.text
    if part is None:
        return Text(words=tuple(words_of(subject)), code=b"", ungreeted=())
    leaf = read_leaf(part)
    data = leaf.data[:LONGEST]
    code = data.lower()
    visible = _visible(data, code) if leaf.kind == "html" else data
    text = visible.decode(leaf.codec or "utf-8", "replace")
    if leaf.kind == "html":
        text = " ".join(html.unescape(_TAG.sub(" ", text)).split())
    words, ungreeted = _read(_without_addresses(folded(text)))
    return Text(words=(*words_of(subject), *words), code=code, ungreeted=tuple(ungreeted))


def _read(plain: str) -> tuple[list[str], list[str]]:
    """The words of a text, and those without whom a greeting names. Each word is read once."""
    words: list[str] = []
    ungreeted: list[str] = []
    at = 0
    for greeting in _GREETING.finditer(plain):
        ungreeted += _add_words(words, plain[at : greeting.end(1)])
        _add_words(words, plain[greeting.end(1) : greeting.end()])
        at = greeting.end()
    ungreeted += _add_words(words, plain[at:])
    return words, ungreeted


def _visible(data: bytes, low: bytes) -> bytes:
    """HTML without what no reader sees: comments, styles, scripts. What is not closed hides the rest."""
    for opening, closing in ((b"<!--", b"-->"), *((b"<" + name, b"</" + name) for name in _HIDDEN)):
        if opening not in low:
            continue
        kept, at = [], 0
        while (start := low.find(opening, at)) >= 0:
            kept.append((at, start))
            at = low.find(closing, start + len(opening))
            if at < 0:
                at = len(low)
                break
            at += len(closing)
        kept.append((at, len(low)))
        data, low = (b" ".join(whole[a:b] for a, b in kept) for whole in (data, low))
    return data


def folded(text: str) -> str:
    """Without case and accents."""
    text = text.casefold()
    if text.isascii():
        return text
    return _MARKS.sub("", unicodedata.normalize("NFKD", text))


def words_of(text: str) -> list[str]:
    """The words of a text or a phrase; a word with a digit, and several in a row, are one `#`."""
    words: list[str] = []
    _add_words(words, _without_addresses(folded(text)))
    return words


def _without_addresses(plain: str) -> str:
    for address in _ADDRESSES:
        plain = address.sub(" ", plain)
    return plain


def _add_words(words: list[str], plain: str) -> list[str]:
    """Put the words of a further piece of text to those before it; what was put."""
    before = len(words)
    for word in _WORD.findall(plain):
        if word.isalpha() or word in "%€":
            words.append(word)
        elif not words or words[-1] != "#":
            words.append("#")
    return words[before:]


def skeleton(text: Text, names: Collection[str]) -> bytes:
    """16 octets of the text as everybody gets it; b"" where it is too short to say anything.

    `names`: words of the recipient's own name, folded as words are.
    """
    kept = [word for word in text.ungreeted if word not in names and word != "#"]
    if len(kept) < SHORTEST:
        return b""
    return hashlib.sha256(" ".join(kept).encode("utf-8", "replace")).digest()[:16]
