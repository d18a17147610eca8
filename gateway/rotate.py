"""Signing keys are made, take over, and go, without a moment in which mail bears a signature nobody can check.

    new        a key pair in files of ours, its entry in the settings (`waiting`), its record for DNS
    activate   DNS has the record: it signs, and the key it takes over from signs no more (`retired`)
    retire     a key signs no more, without another taking over
    remove     the mail it signed has arrived: entry, private key and record file go

The settings file is the only place that says which key does what; it is changed line by line, read again before it
takes the place of the old one, and taken up by the gateway at its next reload. Refusals are `Refusal`, for a person.
"""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from gateway.config import Config, Controller
from gateway.mail.dkim import Algorithm, generate
from gateway.mail.dkim_record import difference
from gateway.outbound.resolver import Resolver, Unanswered
from gateway.settings.edit import Uneditable, Value, with_entry, with_values, without_entry
from gateway.settings.load import ConfigError
from gateway.settings.written import written
from gateway.signing_keys import SigningKey, record_files, signing_keys

SUFFIX: dict[Algorithm, str] = {"rsa-sha256": "", "ed25519-sha256": "e"}
"""Two keys of one generation: `cg2` and `cg2e`, for one name holds one record (RFC 8463 4)."""


class Refusal(Exception):
    """What was asked for is not done; the text says why and what to do."""


def keys_of(config: Config, controller: Controller, domain: str) -> list[SigningKey]:
    """The keys of one controller for one domain."""
    return [one for one in signing_keys(config) if one.controller.id == controller.id and one.key.domain == domain]


def new_keys(
    config: Config, controller: Controller, domain: str, algorithms: Sequence[Algorithm], *, bits: int,
    selector: str | None,
) -> Config:  # fmt: skip
    """Make a key per algorithm, waiting for DNS; the settings as they are then."""
    if domain not in controller.domains:
        raise Refusal(f"{domain} is not a domain of {controller.id}. Known: {', '.join(controller.domains)}.")
    taken = {one.selector for c in config.controllers.values() for one in c.dkim if one.domain == domain}
    stem = selector or _next(taken)
    text = config.path.read_text("utf-8")
    made: list[Path] = []
    try:
        for algorithm in algorithms:
            name = stem + SUFFIX[algorithm]
            if name in taken:
                raise Refusal(f"The selector {name} is taken for {domain}. Choose another with --selector.")
            file = Path("keys") / "dkim" / f"{domain}.{name}.pem"
            text = with_entry(
                text, f"controllers.{controller.id}.dkim",
                {"domain": domain, "selector": name, "key": str(file), "state": "waiting"},
            )  # fmt: skip
            _private(config.dir / file, generate(algorithm, bits))
            made.append(config.dir / file)
        return _saved(config, text, domain)
    except BaseException as failed:
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(failed, Uneditable):
            raise Refusal(f"{config.path}: {failed}. Add the entry by hand.") from None
        raise


async def activate(
    config: Config, controller: Controller, domain: str, selectors: Sequence[str], *, resolver: Resolver, force: bool,
    now: datetime,
) -> Config:  # fmt: skip
    """Let waiting keys sign, all of the domain where none is named; those of the same kind before them are retired."""
    known = keys_of(config, controller, domain)
    chosen = [one for one in known if one.key.state == "waiting" and (not selectors or one.key.selector in selectors)]
    missing = set(selectors) - {one.key.selector for one in chosen}
    if missing or not chosen:
        what = ", ".join(sorted(missing)) or "No key"
        raise Refusal(f"{what} of {domain} waits to be activated. See: consentgate dkim list")
    for one in chosen:
        if one.record is None:
            raise Refusal(f"{one.key.key} is no usable private key: {one.broken}.")
        if not force and (wrong := await _wrong(one, resolver)) is not None:
            raise Refusal(
                f"{one.key.name}: {wrong}. Publish the record that `dkim list --records` prints, wait until "
                "it is seen everywhere, and try again (--force signs all the same: receivers then fail the mail)."
            )
    kinds = {one.algorithm for one in chosen}
    replaced = [one for one in known if one.key.state == "signing" and one.algorithm in kinds]
    changes: list[tuple[SigningKey, dict[str, Value]]] = [(one, {"state": "signing"}) for one in chosen]
    changes += [(one, _retirement(now)) for one in replaced]
    return _changed(config, controller, domain, changes)


def retire(config: Config, controller: Controller, domain: str, selector: str, *, force: bool, now: datetime) -> Config:
    """Let a key sign no more, without another in its place."""
    one = _named(config, controller, domain, selector)
    if one.key.state != "signing":
        raise Refusal(f"{one.key.name} does not sign: it is {one.key.state}.")
    others = [k for k in keys_of(config, controller, domain) if k.key.state == "signing" and k.key != one.key]
    if not others and not force:
        raise Refusal(
            f"{one.key.name} is the last key that signs for {domain}: without one its marketing is blocked. Make "
            f"another first: consentgate dkim new {domain} (--force retires it all the same)."
        )
    return _changed(config, controller, domain, [(one, _retirement(now))])


def remove(config: Config, controller: Controller, domain: str, selector: str, *, force: bool, now: datetime) -> Config:
    """Take a key out for good: entry, private key, record file. Its record in DNS may go then."""
    one = _named(config, controller, domain, selector)
    if one.key.state == "signing":
        raise Refusal(f"{one.key.name} signs. Let another take over first: consentgate dkim new {domain}")
    if one.removable_at is not None and now < one.removable_at and not force:
        raise Refusal(
            f"Mail signed with {one.key.name} may be under way until {one.removable_at:%Y-%m-%d %H:%M} UTC. Leave its "
            "record in DNS until then (--force removes it all the same)."
        )
    number = controller.dkim.index(one.key) + 1
    try:
        text = without_entry(config.path.read_text("utf-8"), f"controllers.{controller.id}.dkim", number)
    except Uneditable as hard:
        raise Refusal(f"{config.path}: {hard}. Take the entry of {one.key.name} out by hand.") from None
    after = _saved(config, text, domain)
    one.key.key.unlink(missing_ok=True)
    return after


def _next(taken: Iterable[str]) -> str:
    """The next of cg1, cg2, ... that none of the selectors begins with."""
    numbers = [int(found[1]) for name in taken if (found := re.match(r"cg(\d{1,6})", name))]
    return f"cg{max(numbers, default=0) + 1}"


async def _wrong(one: SigningKey, resolver: Resolver) -> str | None:
    try:
        return difference(await resolver.texts(one.key.name), one.record or "")
    except Unanswered as silence:
        return f"DNS did not answer ({silence})"


def _named(config: Config, controller: Controller, domain: str, selector: str) -> SigningKey:
    for one in keys_of(config, controller, domain):
        if one.key.selector == selector:
            return one
    raise Refusal(f"There is no key {selector} for {domain}. See: consentgate dkim list")


def _retirement(now: datetime) -> dict[str, Value]:
    return {"state": "retired", "retired_at": now.replace(microsecond=0)}


def _changed(
    config: Config, controller: Controller, domain: str, changes: Iterable[tuple[SigningKey, dict[str, Value]]]
) -> Config:
    text = config.path.read_text("utf-8")
    try:
        for one, values in changes:
            number = controller.dkim.index(one.key) + 1
            text = with_values(text, f"controllers.{controller.id}.dkim", number, values)
    except Uneditable as hard:
        raise Refusal(f"{config.path}: {hard}. Set `state` of these keys by hand.") from None
    return _saved(config, text, domain)


def _saved(config: Config, text: str, domain: str) -> Config:
    """Put the new text in place of the file once it has been read as settings; then the record files of the domain."""
    stale = set(record_files(config, domain))
    try:
        after = written(config.path, text)
    except ConfigError as wrong:
        raise Refusal(f"The settings would have problems; nothing is changed:\n{wrong}") from None
    except OSError as failed:
        raise Refusal(f"{config.path} cannot be written: {failed.strerror}. Nothing is changed.") from None
    files = record_files(after, domain)
    for path, line in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(line, "ascii")
        path.chmod(0o644)
    for path in stale - set(files):
        path.unlink(missing_ok=True)
    return after


def _private(path: Path, content: bytes) -> None:
    """A new file that only its owner may read, on disk before anything names it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Refusal(f"{path} is there already. Move it away, or choose another selector.") from None
