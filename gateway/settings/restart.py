"""What a reload cannot take into use: settings that are read once, when the gateway starts."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.config import Config

AT_THE_START: Final[Mapping[str, Callable[[Config], object]]] = {
    "database.url": lambda config: config.database.url,
    "keys.installation": lambda config: config.installation_key,
    "keys.database": lambda config: config.keys.url,
    "node": lambda config: config.node,
}


def restart_needed(running: Config, new: Config) -> tuple[str, ...]:
    """The names of settings that were changed since the start and take effect at the next one only.

    `running`: those that the gateway started with.
    """
    return tuple(name for name, of in AT_THE_START.items() if of(running) != of(new))
