"""The entries of a JSON file, one after the other: an array, an array inside a document of an API, or JSON lines.

Several documents behind each other are read like one, so that pages of an API can be put in one file. Memory is bounded
by the longest entry. What is no whole JSON is a Refusal: a list that was cut off has lost opt-outs.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from gateway.files.table import Refusal, Row

ENTRY_CHARS: Final = 1 << 20
"""The longest entry that is read, in characters."""
HEAD_CHARS: Final = 1 << 16
"""How far into a document its array is looked for."""
MOST_NAMES: Final = 64
"""Names of cells at most; what has more is no list of people."""
_ARRAY: Final = re.compile(
    r'"(?:Suppressions|SuppressedDestinationSummaries|items|Contacts|contacts|results?|recipient_emails|suppressions)"'
    r"\s*:\s*\["
)
_BLANK: Final = re.compile(r"[\s,]*")
_SPACE: Final = re.compile(r"\s*")
_DECODER: Final = json.JSONDecoder()


class _Text:
    """A window on the text that grows at its end and is cut at its start."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self.window = ""
        self.at = 0

    def more(self) -> bool:
        """Read on. False at the end."""
        piece = next(self._pieces, "")
        self.window = self.window[self.at :] + piece
        self.at = 0
        return piece != ""

    def skip(self, blank: re.Pattern[str]) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            found = blank.match(self.window, self.at)
            self.at = found.end() if found is not None else self.at
            if self.at < len(self.window):
                return self.window[self.at]
            if not self.more():
                return ""


def entries(pieces: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """Each entry as cells by name. An entry that is a mere text is an address."""
    text, number = _Text(pieces), 0
    while start := text.skip(_SPACE):
        if start == "[":
            text.at += 1
            inside = True
        elif start == "{":
            inside = _inside_document(text)
        else:
            raise Refusal(None, f"what follows entry {number} is no JSON", "Export the list anew as JSON or CSV")
        while True:
            start = text.skip(_BLANK if inside else _SPACE)
            if inside and start == "]":
                text.at += 1
                break
            if not inside and start != "{":
                break
            if not start:
                raise Refusal(None, f"the list ends behind entry {number} without its ]", "Export it anew, whole")
            number += 1
            yield _cells(_entry(text, number), number)
            if not inside:
                break
        if inside:
            _leave_document(text)


def _inside_document(text: _Text) -> bool:
    """Go to the array of a document. False where it has none: then it is an entry itself, as in JSON lines."""
    while True:
        found = _ARRAY.search(text.window, text.at)
        line_end = text.window.find("\n", text.at)
        if found is not None and _is_first(text.window[text.at : found.start()]):
            text.at = found.end()
            return True
        if (line_end != -1 and _is_whole(text.window[text.at : line_end])) or len(text.window) - text.at > HEAD_CHARS:
            return False
        if not text.more():
            return False


def _is_first(before: str) -> bool:
    """Whether an array found behind `before` belongs to the document that begins there, not to a later one."""
    return before.count("{") - before.count("}") == 1


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _leave_document(text: _Text) -> None:
    """Pass over the rest of a document behind its array, up to the brace that ends it."""
    while start := text.skip(_SPACE):
        if start in "[{":
            return
        if start == "}":
            text.at += 1
            return
        if start == '"':
            _entry(text, 0)
            continue
        if start in ":,":
            text.at += 1
            start = text.skip(_SPACE)
            if start and start not in '"}':
                _entry(text, 0)
            continue
        raise Refusal(None, "what follows the list is no JSON", "Export it anew as JSON or CSV")


def _entry(text: _Text, number: int) -> Any:
    while True:
        try:
            value, end = _DECODER.raw_decode(text.window, text.at)
        except (ValueError, RecursionError):
            too_long = len(text.window) - text.at > ENTRY_CHARS
            if too_long or not text.more():
                raise Refusal(
                    None, f"entry {number} is no whole JSON", "Export the list anew, it was cut off"
                ) from None
            continue
        if end == len(text.window) and not isinstance(value, dict | list | str) and text.more():
            continue  # a number may go on
        text.at = end
        return value


def _cells(entry: Any, number: int) -> dict[str, str]:
    if isinstance(entry, str):
        return {"email": entry}
    if not isinstance(entry, dict):
        raise Refusal(None, f"entry {number} is neither an object nor an address", "Export the list as the tool does")
    return {str(name): _text(value) for name, value in _first(entry.items())}


def _first(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The first MOST_NAMES of them."""
    return [pair for pair, _ in zip(pairs, range(MOST_NAMES), strict=False)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "|".join(_text(one) for one in value)
    if isinstance(value, dict) and "TopicName" in value:
        return f"{value['TopicName']}={value.get('SubscriptionStatus', '')}"
    return ""


class Entries:
    """The entries as rows under one header: all names that occur. `line` is the number of the entry, from 1."""

    delimiter = ","

    def __init__(self, pieces: Iterable[str], header: list[str]) -> None:
        """`header`: as `names` found it."""
        self._pieces = pieces
        self.header = header
        self.columns = tuple(name.lower() for name in header)
        self.width = len(header)

    def __iter__(self) -> Iterator[Row]:
        for number, cells in enumerate(entries(self._pieces), 1):
            yield Row(number, [cells.get(name, "") for name in self.header], None)


def names(pieces: Iterable[str]) -> list[str]:
    """Every name that occurs in the entries, in order of first sight. Reads all of it, so that a fault shows early."""
    found: dict[str, None] = {}
    for cells in entries(pieces):
        if len(found) < MOST_NAMES:
            found.update(dict.fromkeys(cells))
    if not found:
        raise Refusal(None, "the list is empty", "Export it anew, or leave it: there is nothing to take in")
    return list(found)[:MOST_NAMES]
