"""What the product itself writes to people: a letter's subject, text and HTML, from its three templates.

`mail/NAME.subject.txt`, `mail/NAME.txt` and `mail/NAME.html`; a letter without the last is text alone. A controller's
own templates (docs/letters.md) win over ours for as long as they can be filled in and say what the letter is for: a
confirmation without its link would lose sign-ups in silence, so such a template is passed by and the log says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from markupsafe import escape

from gateway import log
from gateway.config import Controller
from gateway.words import Language, Words

Name = Literal["confirm", "stopped", "restriction_ends", "obtained", "head", "report"]
NAMES: Final[dict[Name, str]] = {
    "confirm": "asks to confirm a sign-up (double opt-in)",
    "stopped": "says that an opt-out is registered (Belgium)",
    "restriction_ends": "tells that a restriction is about to be lifted (GDPR art. 18(3))",
    "obtained": "tells from whom an address came that a third party passed on (GDPR art. 14)",
    "head": "takes a signed head of the ledger outside",
    "report": "tells a sender what became of a message (DSN; text alone, as mail software reads it)",
}
"""Every letter, and what it does."""


class Unfit(Exception):
    """A controller's own template leaves out what the letter is for. Names the template, nothing of a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A letter in words. `html` empty: text alone."""

    subject: str
    text: str
    html: str


def written(
    words: Words, controller: Controller, name: Name, language: Language, *, must: Sequence[str] = (), **values: Any
) -> Written:
    """The letter, from the controller's own templates or from ours. `must`: what text and HTML have to show."""
    try:
        return own(words, controller, name, language, must=must, **values)
    except Exception as unfit:  # a template is a program of its own, and may raise whatever it likes
        log.template_unfit(controller=controller.id, letter=name, error=unfit)
        return _filled(words, controller, name, language, None, values)


def own(
    words: Words, controller: Controller, name: Name, language: Language, *, must: Sequence[str] = (), **values: Any
) -> Written:
    """The same, but raising what is wrong with the controller's own templates, Unfit among it."""
    done = _filled(words, controller, name, language, controller.id, values)
    for kind, part in (("txt", done.text), ("html", done.html)):
        if part and not all(wanted in part or str(escape(wanted)) in part for wanted in must):
            raise Unfit(f"mail/{name}.{kind} does not show all that it has to")
    if not done.subject:
        raise Unfit(f"mail/{name}.subject.txt is empty")
    return done


def _filled(
    words: Words, controller: Controller, name: Name, language: Language, of: str | None, values: dict[str, Any]
) -> Written:
    subject = " ".join(words.render(f"mail/{name}.subject.txt", language, of, controller=controller, **values).split())
    text, html = (
        words.render(f"mail/{name}.{kind}", language, of, controller=controller, subject=subject, **values).strip()
        if kind == "txt" or words.has(f"mail/{name}.html", language, of) else ""
        for kind in ("txt", "html")
    )  # fmt: skip
    return Written(subject=subject, text=text, html=html)
