"""Commands about signing keys: make, list, activate, retire, remove."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli import command
from gateway.cli.command import DEFAULT_CONFIG, ConfigPath, ControllerName, Json
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import Config
    from gateway.signing_keys import SigningKey

app = command.make_app()
dkim = command.make_group("Signing keys: make one, publish it, let it take over, take the old one away.")
app.add_typer(dkim, name="dkim")

Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain that signs: that of the From field.")]
Selector = Annotated[str, typer.Argument(metavar="SELECTOR", help="The key, as `dkim list` names it.")]


@dkim.command("list")
def list_keys(
    config: ConfigPath = DEFAULT_CONFIG,
    records: Annotated[
        bool, typer.Option("--records", help="Print what DNS has to publish, as BIND writes it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """All keys: what each does, and from when on the record of a retired one may go."""
    from gateway.signing_keys import signing_keys

    found = list(signing_keys(command.configuration(config)))
    if records and not as_json:
        _print_records(found)
    elif as_json:
        for one in found:
            command.out({
                "controller": one.controller.id, "domain": one.key.domain, "selector": one.key.selector,
                "algorithm": one.algorithm, "state": one.key.state, "retired_at": one.key.retired_at,
                "removable_at": one.removable_at, "record": one.record, "problem": one.broken or None,
            })  # fmt: skip
    else:
        rows = [
            (one.controller.id, one.key.domain, one.key.selector, one.algorithm or "unusable", one.key.state,
             command.cell(one.removable_at))
            for one in found
        ]  # fmt: skip
        command.columns(rows, ("controller", "domain", "selector", "algorithm", "state", "record may go (UTC)"))


@dkim.command("new")
def new(
    domain: Domain,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    algorithm: Annotated[
        Literal["both", "rsa", "ed25519"], typer.Option(help="What to make. Mail is signed with each key that signs.")
    ] = "both",
    bits: Annotated[int, typer.Option(min=2048, max=8192, help="Size of an RSA key.")] = 2048,
    selector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its selector; Ed25519 has an `e` behind it. Absent: the next cgN."),
    ] = None,
) -> None:
    """Make keys that wait, and print what DNS has to publish. Mail is signed with them after `dkim activate`."""
    from gateway import rotate
    from gateway.mail.dkim import Algorithm

    wanted: dict[str, tuple[Algorithm, ...]] = {
        "both": ("rsa-sha256", "ed25519-sha256"), "rsa": ("rsa-sha256",), "ed25519": ("ed25519-sha256",),
    }  # fmt: skip
    loaded, who = command.settings_of(config, controller)
    before = {one.name for one in who.dkim}
    try:
        after = rotate.new_keys(loaded, who, _domain(domain), wanted[algorithm], bits=bits, selector=selector)
    except rotate.Refusal as refusal:
        raise Refused(str(refusal)) from None
    made = [
        one for one in rotate.keys_of(after, after.controllers[who.id], _domain(domain)) if one.key.name not in before
    ]
    _print_records(made)
    command.say(f"Publish this in DNS and wait until it is seen, then: consentgate dkim activate {_domain(domain)}")


@dkim.command("activate")
def activate(
    domain: Domain,
    selectors: Annotated[
        list[str] | None, typer.Argument(metavar="[SELECTOR]...", help="Which of its waiting keys. Absent: all.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    force: Annotated[bool, typer.Option("--force", help="Do not ask DNS first.")] = False,
) -> None:
    """Let waiting keys sign once DNS has their records; those of the same kind before them are retired."""
    from gateway import rotate
    from gateway.outbound.resolver import Resolver

    loaded, who = command.settings_of(config, controller)
    try:
        after = command.run(rotate.activate(
            loaded, who, _domain(domain), selectors or [], resolver=Resolver(loaded.dns_servers), force=force,
            now=command.now(),
        ))  # fmt: skip
    except rotate.Refusal as refusal:
        raise Refused(str(refusal)) from None
    _tell(loaded, after, who.id, _domain(domain))


@dkim.command("retire")
def retire(
    domain: Domain,
    selector: Selector,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    force: Annotated[bool, typer.Option("--force", help="Also the last key that signs for the domain.")] = False,
) -> None:
    """Let a key sign no more, without another in its place. Its record stays published for now."""
    from gateway import rotate

    loaded, who = command.settings_of(config, controller)
    try:
        after = rotate.retire(loaded, who, _domain(domain), selector, force=force, now=command.now())
    except rotate.Refusal as refusal:
        raise Refused(str(refusal)) from None
    _tell(loaded, after, who.id, _domain(domain))


@dkim.command("remove")
def remove(
    domain: Domain,
    selector: Selector,
    config: ConfigPath = DEFAULT_CONFIG,
    controller: ControllerName = None,
    force: Annotated[bool, typer.Option("--force", help="Also while mail it signed may be under way.")] = False,
) -> None:
    """Take a key away that signs no more, once the mail it signed has arrived: entry, private key, record file."""
    from gateway import rotate

    loaded, who = command.settings_of(config, controller)
    try:
        rotate.remove(loaded, who, _domain(domain), selector, force=force, now=command.now())
    except rotate.Refusal as refusal:
        raise Refused(str(refusal)) from None
    command.say(f"Removed. Take {selector}._domainkey.{_domain(domain)} out of DNS, and reload the gateway (SIGHUP).")


def _domain(text: str) -> str:
    from gateway.settings.kinds import Bad, domain

    try:
        return domain(text)
    except Bad as bad:
        raise Refused(f"DOMAIN: {bad.what}. {bad.remedy}.") from None


def _print_records(keys: "Sequence[SigningKey]") -> None:
    for one in keys:
        if one.zone_line is not None:
            print(one.zone_line, end="")


def _tell(before: "Config", after: "Config", controller: str, domain: str) -> None:
    """What changed, and what a person has to do now and later."""
    from gateway import rotate

    was = {one.name: one.state for one in before.controllers[controller].dkim}
    for one in rotate.keys_of(after, after.controllers[controller], domain):
        if was.get(one.key.name) == one.key.state:
            continue
        if one.key.state == "retired" and one.removable_at is not None:
            print(f"{one.key.name}: retired; leave its record in DNS until {one.removable_at:%Y-%m-%d}, then: "
                  f"consentgate dkim remove {domain} {one.key.selector}")  # fmt: skip
        else:
            print(f"{one.key.name}: {one.key.state}")
    command.say("Reload the gateway (SIGHUP): until then it signs as before.")
