"""What somebody was shown when they agreed, as text for a page: a snapshot of a form is never run or laid out again."""

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final

from suppression.evidence import Choice, Wording

_SILENT: Final = frozenset({"script", "style", "template", "title", "head"})
_BREAKS: Final = frozenset({
    "p", "div", "br", "li", "ul", "ol", "tr", "table", "form", "fieldset", "legend", "section", "h1", "h2", "h3", "h4",
    "label", "button", "hr",
})  # fmt: skip
LINES: Final = 400
"""Lines of a form that are shown at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A wording as a page shows it. `choices`: those with words of their own; `lines`: the form around them, as text.

    `notice_url`: only where it leads to https.
    """

    version: str
    language: str | None
    choices: tuple[Choice, ...]
    lines: tuple[str, ...]
    notice_version: str | None
    notice_url: str | None


def as_shown(wording: Wording) -> Shown:
    """A wording as a page may show it."""
    url = wording.notice_url or ""
    text = html_text(wording.layout) if wording.layout_type == "text/html" else wording.layout
    lines = (" ".join(line.split()) for line in text.splitlines())
    return Shown(
        version=wording.name, language=wording.language, lines=tuple(line for line in lines if line)[:LINES],
        choices=tuple(choice for choice in wording.choices if choice.text.strip()),
        notice_version=wording.notice_version, notice_url=url if url.startswith("https://") else None,
    )  # fmt: skip


def html_text(html: str) -> str:
    """The words of an HTML form, a line per block; its boxes as they stood."""
    reader = _Text()
    reader.feed(html)
    reader.close()
    return "".join(reader.pieces)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag in _BREAKS:
            self.pieces.append("\n")
        elif tag == "input" and dict(attrs).get("type", "") in ("checkbox", "radio"):
            self.pieces.append("\N{BALLOT BOX WITH CHECK} " if "checked" in dict(attrs) else "\N{BALLOT BOX} ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _SILENT:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in _BREAKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data)
