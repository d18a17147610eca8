"""A sign-up form as it is shown to everybody, word for word: as a page, as a snippet for a site, and as kept wordings.

What depends on the visitor (what they typed, what was wrong with it) is no part of it, so that one form in one language
is one wording.
"""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from gateway.config import Config, Controller, Form
from gateway.words import Language, Words
from suppression.evidence import Choice, Wording

_NOTHING_TYPED: Mapping[str, Any] = {"wrong": {}, "ticked": (), "typed": "", "typed_birth": ""}


class ShownForm:
    """Says what stands on a form. `age`: below which a parent has to agree, by controller."""

    def __init__(self, config: Config, words: Words, age: Callable[[Controller], int]) -> None:
        self._config, self._words, self._age = config, words, age

    def wording(self, controller: Controller, form: Form, language: Language, *, parent: bool = False) -> Wording:
        """The page's form."""
        values = self.values(controller, form, language, parent=parent)
        layout = self._words.render(
            "public/sign_up_shown.html", language, controller=controller, **values, **_NOTHING_TYPED
        )  # fmt: skip
        return self._wording(controller, form, language, layout, f"form {form.name} {language}")

    def snippet(self, controller: Controller, form: Form, language: Language) -> tuple[str, Wording]:
        """The form for a page of the controller's own site, and the wording that it names."""
        values = self.values(controller, form, language)
        values["target"] = self._config.public_url.rstrip("/") + str(values["target"])
        html = self._words.template("public/snippet.html", language)
        layout = html.render(controller=controller, wording=None, **values)
        wording = self._wording(controller, form, language, layout, f"{snippet_prefix(form)}{language}")
        return html.render(controller=controller, wording=wording.name, **values), wording

    def _wording(self, controller: Controller, form: Form, language: Language, layout: str, prefix: str) -> Wording:
        """Named for what it is and, by its digest, which one."""
        wording = Wording(
            name="form", language=language, layout_type="text/html", layout=layout,
            choices=self._choices(controller, form, language), notice_url=controller.notice_url,
            notice_version=controller.notice_version or None,
        )  # fmt: skip
        return wording.named(f"{prefix} {wording.digest().hex()[:12]}")

    def values(
        self, controller: Controller, form: Form, language: Language, *, parent: bool = False
    ) -> dict[str, Any]:  # fmt: skip
        """What the templates say. `parent`: the form that asks for the address of a parent."""
        say, age = self._words.text, self._age(controller)
        heading = _in(form.title, language, controller) or say(language, "sign_up.title", name=controller.display_name)
        lines = [_in(text, language, controller) for text in (form.intro, form.frequency)]
        if parent:
            heading = say(language, "sign_up.parent_title")
            lines.insert(0, say(language, "sign_up.parent_text", age=age))
        link = None
        if controller.notice_url:
            link = Markup('<a href="{}" rel="noreferrer">{}</a>').format(
                controller.notice_url, say(language, "sign_up.notice_link")
            )
        asks_birth = form.ask_birth_date and not parent
        return {
            "heading": heading, "lines": [line for line in lines if line], "notice_link": link,
            "target": f"/s/{controller.id}/{form.name}?lang={language}", "hidden": {"parent": "yes"} if parent else {},
            "next": say(language, "sign_up.next_parent" if parent else "sign_up.next") if form.double_opt_in else None,
            "boxes": [(choice.purpose, choice.text) for choice in self._choices(controller, form, language)],
            "address_label": say(language, "sign_up.parent_address" if parent else "sign_up.address"),
            "birth_why": say(language, "sign_up.birth_why", age=age) if asks_birth else None,
        }  # fmt: skip

    def _choices(self, controller: Controller, form: Form, language: Language) -> tuple[Choice, ...]:
        """The boxes: one per purpose, not ticked."""
        titles = ((purpose, self._words.purpose(controller, purpose, language)) for purpose in form.purposes)
        return tuple(
            Choice(purpose=purpose, ticked=False, text=self._words.text(language, "sign_up.box", purpose=title))
            for purpose, title in titles
        )


def snippet_prefix(form: Form) -> str:
    """How names of wordings begin that stand on the controller's own site."""
    return f"snippet {form.name} "


def _in(texts: Mapping[str, str], language: Language, controller: Controller) -> str:
    """A controller's own text in the reader's language, else in its own; empty where there is none."""
    return texts.get(language) or texts.get(controller.language) or ""
