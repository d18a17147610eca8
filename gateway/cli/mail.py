"""Commands about one message in a file: rewrite."""

import json
import sys
from dataclasses import replace
from typing import Annotated, NoReturn

import typer
import uuid_utils

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName
from gateway.cli.refusal import Refused
from gateway.config import Controller, Login, Stream
from gateway.mail.classify import Kind, classify
from gateway.mail.headers import Unparsable
from gateway.mail.mime import Message, parse
from gateway.mail.plan import make_plan
from gateway.mail.rewrite import NotInjectable
from gateway.render import Original, Renderer, renderer, wants
from gateway.store.contract import Ruling
from gateway.weigh import Case
from gateway.words import Words
from suppression.address import canonical
from suppression.decision import Decision

app = command.make_app()


@app.command()
def rewrite(
    stream: Annotated[str, typer.Option(metavar="NAME", help="The stream it would be sent on.")],
    recipient: Annotated[str, typer.Option(metavar="ADDR", help="Whose copy.")],
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Leave out the DKIM signature.")] = False,
) -> None:
    """Read a message from standard input and write one copy as it would leave. Looks at no consent.

    Standard error gets one JSON line: the opt-out link of the footer, where the footer went, warnings. Exit code 1 with
    a reason code when the message cannot carry an opt-out, or cannot be read.
    """
    loaded = command.configuration(config)
    who, on = command.stream_of(loaded, controller, stream)
    address = canonical(recipient)
    if address is None:
        raise Refused("--recipient: that is not an e-mail address. Write it as name@example.com.")
    raw = sys.stdin.buffer.read()
    try:
        message = parse(raw if b"\r" in raw else raw.replace(b"\n", b"\r\n"))
    except Unparsable:
        _stop("UNPARSABLE")
    original = _original(message, who, on, len(raw))
    if original.case.marketing and original.case.unsubscribe == "not_injectable":
        _stop("UNSUBSCRIBE_NOT_INJECTABLE")

    async def made() -> Renderer:
        async with command.opened(loaded) as store:
            return await renderer(store, loaded, Words.load(loaded.own_templates))

    copies = command.run(made())
    key = command.key_ring(loaded).recipient_keys(who.id, address)[0]
    ruling = _ruling(who)
    try:
        done = copies.unsigned(original, address, key, ruling)
    except NotInjectable:  # the copy did not read back as meant
        _stop("UNSUBSCRIBE_NOT_INJECTABLE")
    if unsigned:
        sys.stdout.buffer.writelines((done.head, b"\r\n", *done.pieces))
    else:
        sys.stdout.buffer.writelines(copies.copy(original, address, key, ruling))
    sys.stdout.buffer.flush()
    link = copies.links(original, key, "opt_in").page if original.case.marketing else None
    said = {"unsubscribe_url": link, "footer": done.footer, "warnings": list(done.warnings)}
    print(json.dumps(said, ensure_ascii=False), file=sys.stderr)


def _ruling(controller: Controller) -> Ruling:
    """What the links and the footer rest on: as if the person had agreed, in the controller's usual country."""
    decision = Decision(
        verdict="allow", reason_code="ALLOW_OPT_IN", cite="", basis="opt_in", pack=None, trace=(), findings=()
    )
    return Ruling(decision=decision, as_of=command.now(), packs=controller.default_country or "UNKNOWN")


def _stop(reason_code: str) -> NoReturn:
    print(json.dumps({"reason_code": reason_code}), file=sys.stderr)
    raise typer.Exit(1)


def _original(message: Message, controller: Controller, stream: Stream, size: int) -> Original:
    """The message as `accept` would take it on this stream; what the From field says stops nothing here."""
    login = Login(name="rewrite", controller=controller.id, password_hash=None, streams=(stream.name,), allowed_ips=())
    kind = classify(message, login, controller.streams, None, controller.promotional)
    case = Case(
        message_class=stream.message_class, promotional=False, purpose=stream.purpose, categories=stream.categories,
        transaction_ref=stream.transaction_ref == "stream", restriction_exemption=None, unsubscribe="not_injectable",
        from_domain="",
    )  # fmt: skip
    if isinstance(kind, Kind):
        case = replace(
            case, message_class=kind.message_class, promotional=kind.promotional, purpose=kind.purpose,
            categories=kind.categories, transaction_ref=kind.transaction_ref, from_domain=kind.from_domain,
        )  # fmt: skip
    plan = make_plan(message, wants(stream, marketing=case.marketing, relay=False))
    case = replace(case, unsubscribe=plan.unsubscribe, language=plan.language)
    return Original(
        controller=controller, stream=stream, case=case, message_id=uuid_utils.uuid7().bytes, at=command.now(),
        plan=plan, received=b"", size=size,
    )  # fmt: skip
