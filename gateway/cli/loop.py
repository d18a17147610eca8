"""`doctor --loop`: sends a seed message and says what arrived."""

from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.cli import command
from gateway.cli.refusal import Misused, Refused

if TYPE_CHECKING:
    from gateway.config import Config, Controller, Stream
    from gateway.doctor.finding import Finding


def findings(config: "Config", controller: str | None, stream: str | None, minutes: float) -> "list[Finding]":
    """What the check of one stream found. Misused where the stream is not clear, Refused where it cannot begin."""
    from gateway.doctor.loop import Unloopable, loop

    who, which = _stream(config, controller, stream)

    async def run() -> "list[Finding]":
        async with command.opened(config) as store:
            return await loop(
                config, store, who, which, clock=command.now, patience=timedelta(minutes=minutes), say=command.say
            )

    try:
        return command.run(run())
    except Unloopable as refusal:
        raise Refused(str(refusal)) from None


def _stream(config: "Config", controller: str | None, stream: str | None) -> "tuple[Controller, Stream]":
    from gateway.config import MARKETING

    if stream is not None:
        who, which = command.stream_of(config, controller, stream)
        if which.message_class not in MARKETING:
            raise Misused(f"--stream: {stream} is no marketing, so its mail bears no opt-out to look for.")
        return who, which
    found = [
        (who, one) for who in command.controllers_of(config, controller)
        for one in who.streams.values() if one.message_class in MARKETING
    ]  # fmt: skip
    if len(found) != 1:
        known = ", ".join(f"{who.id}/{one.name}" for who, one in found) or "none"
        raise Misused(f"--loop: say which marketing stream with --stream. Known: {known}.")
    return found[0]
