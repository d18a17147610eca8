"""`consentgate consent form`: sign-up forms, and the piece of HTML that puts one on a page of your own."""

from typing import Annotated, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

form = command.make_group("Sign-up forms: where they are, and HTML for your own pages.")


@form.command("list")
def list_(config: ConfigPath = DEFAULT_CONFIG, controller: ControllerName = None, as_json: Json = False) -> None:
    """The forms of the settings and their addresses."""
    loaded = command.configuration(config)
    owners = command.controllers_of(loaded, controller)
    rows = [(one, f"{loaded.public_url.rstrip('/')}/s/{owner.id}/{one.name}") for owner in owners
            for one in owner.forms.values()]  # fmt: skip
    if as_json:
        for one, url in rows:
            command.out({
                "controller": one.controller, "form": one.name, "url": url, "purposes": one.purposes,
                "double_opt_in": one.double_opt_in,
            })  # fmt: skip
        return
    if not rows:
        command.say("The settings name no form. Add [controllers.NAME.forms.FORM].")
    command.columns([(url, " ".join(one.purposes)) for one, url in rows], ("form", "purposes"))


@form.command("snippet")
def snippet(
    name: Annotated[str, typer.Option("--form", metavar="FORM", help="Which form of the settings.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    language: Annotated[Literal["nl", "en", "fr", "de"] | None, typer.Option(help="Absent: the controller's.")] = None,
) -> None:
    """Print a form for your own page. Its words are kept as a wording, which every sign-up from it names.

    Style it as you like; change its words and it proves nothing any more: then make another.
    """
    from gateway.keys import signers
    from gateway.sign_up import age_of_consent
    from gateway.store.contract import StoreUnavailable
    from gateway.web.public.shown_form import ShownForm
    from gateway.weigh import Scales
    from gateway.words import Words

    loaded, owner = command.settings_of(config, controller)
    if name not in owner.forms:
        raise Refused(f"{owner.id} has no form {name!r}. Known: {', '.join(owner.forms) or 'none'}.")
    words, scales, now = Words.load(), Scales(loaded, frozenset(signers(loaded))), command.now()
    shown = ShownForm(loaded, words, lambda one: age_of_consent(scales, one, now))
    html, wording = shown.snippet(owner, owner.forms[name], language or words.pick([owner.language]))

    async def keep() -> None:
        async with command.opened(loaded) as store:
            await store.keep_wording(owner.id, wording, at=now)

    try:
        command.run(keep())
    except StoreUnavailable as down:
        raise Refused(f"The wording could not be kept, so the form would prove nothing: {down}") from None
    print(html)
    command.say(f"Its words are kept as {wording.name!r}. See: consentgate consent wording show '{wording.name}'")
