"""Whether each smarthost lets us in now, and what it takes: the way of a copy up to MAIL, which is not said."""

from collections.abc import Iterator

from gateway.config import Config
from gateway.doctor.finding import Finding
from gateway.outbound.connect import ConnectFailed, Connection, Timeouts, connect
from gateway.outbound.pool import hosts

PATIENCE = Timeouts(connect=10, tls=15, greeting=30, ehlo=30, auth=30, ready=45)
"""Less than a copy has: somebody is waiting in front of a screen."""


async def reached(config: Config) -> list[Finding]:
    """Get ready at every host of every smarthost route, and say goodbye."""
    found = []
    for route in config.routes.values():
        for one, host in hosts(route, hostname=config.hostname, timeouts=PATIENCE):
            check = f"route {route.name} {one.host}:{one.port}"
            try:
                connection = await connect(host)
            except ConnectFailed as failed:
                said = " ".join(filter(None, (str(failed.outcome.code or ""), failed.outcome.text)))
                found.append(Finding(check=check, good=False, text=f"{failed.outcome.stage}: {said}"))
                continue
            connection.link.quit()
            size = connection.features.size
            good = size is None or size >= config.limits.message_bytes
            found.append(Finding(check=check, good=good, text="; ".join(_told(connection, config))))
    return found


def _told(connection: Connection, config: Config) -> Iterator[str]:
    features = connection.features
    yield "encrypted" if connection.link.encrypted else "in clear"
    if connection.to.credentials is not None:
        yield "takes our login"
    if features.size is not None and features.size < config.limits.message_bytes:
        yield (
            f"takes messages up to {features.size} octets, we take {config.limits.message_bytes}: "
            "set limits.message_bytes to no more"
        )
    lacks = [
        what for offered, what in (
            (features.pipelining, "PIPELINING (slower)"), (features.eightbit, "8BITMIME (mail is encoded)"),
            (features.smtputf8, "SMTPUTF8 (such addresses come back)"), (features.dsn, "DSN (we report in its place)"),
        ) if not offered
    ]  # fmt: skip
    if lacks:
        yield f"without {', '.join(lacks)}"
