"""What keeps settings that can be loaded from being served, and what whoever serves them should know."""

from collections.abc import Iterable
from datetime import datetime

from gateway.config import OBSERVED_AT_MOST, Config, Stream
from gateway.settings.kinds import is_loopback
from gateway.settings.reader import Problem

_TO_FILL_IN = ("legal_name", "postal_address", "opt_out_contact")


def serve_problems(config: Config, now: datetime) -> tuple[Problem, ...]:
    """What may be loaded, but not served: values nobody filled in, plain-http links that would reach people, and
    observing that would go on for too long."""
    return (*_not_filled_in(config), *_links_in_clear(config), *_observing_too_long(config, now))


def serve_warnings(config: Config, now: datetime) -> tuple[Problem, ...]:
    """What may be served, and should be known: streams that let mail without a ground pass, or from which none goes;
    keys that one machine alone can see."""
    return (*_keys_apart(config), *_modes(config, now))


def _keys_apart(config: Config) -> Iterable[Problem]:
    if config.database.file is None and config.keys.file is not None:
        what = "is a file of this machine, beside a database that others may use: no other node could read anything"
        remedy = "Move it to a database before a second node begins (docs/scaling.md)"
        yield Problem(file=str(config.path), key="keys.database", line=None, what=what, remedy=remedy)


def _modes(config: Config, now: datetime) -> tuple[Problem, ...]:
    return tuple(
        Problem(
            file=str(config.path), key=f"controllers.{controller.id}.streams.{stream.name}.mode", line=None,
            what=warning[0], remedy=warning[1],
        )
        for controller in config.controllers.values()
        for stream in controller.streams.values()
        if (warning := _mode_warning(stream, now)) is not None
    )  # fmt: skip


def _mode_warning(stream: Stream, now: datetime) -> tuple[str, str] | None:
    if stream.mode == "rehearse":
        return "is rehearse: no mail of this stream leaves", 'Release campaigns by hand, or set it to "enforce"'
    if stream.mode != "observe" or stream.observe_until is None:
        return None
    end = f"{stream.observe_until:%Y-%m-%d}"
    if stream.mode_at(now) == "observe":
        what = f"is observe until {end}: mail without a legal ground leaves and is only reported"
        return what, 'Mend what `report observed` lists, then set it to "enforce"'
    return f"was observe until {end}: it enforces now", 'Set it to "enforce"'


def _observing_too_long(config: Config, now: datetime) -> Iterable[Problem]:
    for controller in config.controllers.values():
        for stream in controller.streams.values():
            if stream.mode == "observe" and stream.observe_until and stream.observe_until > now + OBSERVED_AT_MOST:
                key = f"controllers.{controller.id}.streams.{stream.name}.observe_until"
                what = f"is more than {OBSERVED_AT_MOST.days} days off"
                remedy = f"Name a day not after {now + OBSERVED_AT_MOST:%Y-%m-%d}"
                yield Problem(file=str(config.path), key=key, line=None, what=what, remedy=remedy)


def _not_filled_in(config: Config) -> Iterable[Problem]:
    """What `init` left to fill in; no mail may go out in the name of "CHANGE: legal name"."""
    for controller in config.controllers.values():
        place = f"controllers.{controller.id}"
        values = [(f"{place}.{name}", getattr(controller, name)) for name in _TO_FILL_IN]
        values += [(f"{place}.domains", domain) for domain in controller.domains]
        values += [
            (f"{place}.streams.{stream.name}.motivation.{fact}", motivation)
            for stream in controller.streams.values()
            for fact, motivation in stream.motivation.items()
        ]
        for key, value in values:
            if value.startswith("CHANGE") or value == "change.example":
                what = f"is still {value!r}, as init wrote it"
                yield Problem(file=str(config.path), key=key, line=None, what=what, remedy="Fill it in")


def _links_in_clear(config: Config) -> tuple[Problem, ...]:
    """Plain-http links must not reach people (RFC 8058 wants https)."""
    if config.public_url.startswith("https:"):
        return ()
    away = "public_url is plain http, so links in the mail would be too"
    remedy = "Give public_url an https address, or use a smarthost on loopback"
    found = [
        (f"routes.{route.name}.hosts", f"{one.host} is off this machine, but {away}")
        for route in config.routes.values() for one in route.hosts if not is_loopback(one.host)
    ]  # fmt: skip
    found += [
        (f"routes.{route.name}.kind", f"is mx, which sends to everybody, but {away}")
        for route in config.routes.values() if route.kind == "mx"
    ]  # fmt: skip
    return tuple(
        Problem(file=str(config.path), key=key, line=None, what=what, remedy=remedy) for key, what in found
    )  # fmt: skip
