"""What an `mx` route is made of, put together from the settings."""

import ipaddress
import socket
from collections.abc import Callable
from importlib.metadata import version

from gateway import log
from gateway.config import Address, Config, Route
from gateway.counters import MX_RESTING, MX_SESSIONS
from gateway.outbound.direct import Direct, Sender
from gateway.outbound.http_client import HttpClient, context_for
from gateway.outbound.mta_sts import Memory, Policies, looked_up
from gateway.outbound.mx import QUESTIONS, Bounds
from gateway.outbound.pace import Pace
from gateway.outbound.resolver import QUERIES, Resolver
from gateway.outbound.traffic import Place, Traffic
from gateway.tools.reach import IPAddress


def _note(policy: str, result: str) -> None:
    log.tls_tried(policy=policy, result=result)


def direct(
    config: Config, route: Route, *, before: Direct | None, pace: Pace | None, note: Callable[[str, str], None] = _note,
    memory: Memory | None = None,
) -> Direct:  # fmt: skip
    """The connections of an `mx` route. `before`: those under the settings of before, whose experience goes on.
    `note`: told what came of TLS under which kind of policy. `memory`: of what domains asked for by MTA-STS."""
    resolver = Resolver(
        config.dns_servers, dnssec=config.dnssec, queries=max(QUERIES, QUESTIONS * route.connections)
    )  # fmt: skip
    traffic = before.traffic if before is not None else Traffic(
        sessions=route.connections, per_place=route.domain_connections, rests=_tells(route.name)
    )  # fmt: skip
    MX_SESSIONS.labels(route.name).set_function(lambda: traffic.busy)
    MX_RESTING.labels(route.name).set_function(lambda: traffic.resting)
    return Direct(
        route, hostname=config.hostname, senders=senders(config), resolver=resolver, bounds=bounds(config, route),
        dnssec=config.dnssec,
        policies=_policies(config, route, resolver, before, note, memory), traffic=traffic, pace=pace,
        count=note,
    )  # fmt: skip


def senders(config: Config) -> dict[str, Sender]:
    """As whom each controller's mail leaves."""
    return {
        controller.id: Sender(helo=controller.helo or config.hostname, sources=controller.source_addresses)
        for controller in config.controllers.values()
    }


def bounds(config: Config, route: Route) -> Bounds:
    """Where mail must not go: inside, and back to us. Our names count only where we listen on that port ourselves: on
    a machine with a mail server of its own beside us they are its names too."""
    listen = config.listen
    places = [
        place for place in (*listen.submission, *listen.submissions, listen.return_path) if place[1] == route.port
    ]
    names = {config.hostname, *(one.helo for one in senders(config).values())} if places else set()
    return Bounds(inside=route.inside, own_names=names, is_ours=lambda address: _listens(places, address))


def _listens(places: list[Address], address: IPAddress) -> bool:
    for host, _ in places:
        try:
            own = ipaddress.ip_address(host)
        except ValueError:
            continue
        if own == address or (own.is_unspecified and _of_this_machine(address)):
            return True
    return False


def _of_this_machine(address: IPAddress) -> bool:
    """Whether an address is one of this machine's: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((str(address), 0))
    except OSError:
        return False
    return True


def _policies(
    config: Config, route: Route, resolver: Resolver, before: Direct | None, note: Callable[[str, str], None],
    memory: Memory | None,
) -> Policies | None:  # fmt: skip
    """What domains asked for under the settings of before goes on to hold."""
    if not route.mta_sts:
        return None
    client = HttpClient(
        context_for(config.write_back_authorities), agent=f"consentgate/{version('consentgate')}",
        resolve=looked_up(resolver),
    )  # fmt: skip
    return Policies(
        resolver, client, inside=route.inside, note=lambda _, fault: note("sts", fault),
        before=before.policies if before is not None else None, memory=memory,
    )  # fmt: skip


def _tells(route: str) -> Callable[[Place, float], None]:
    def tell(place: Place, seconds: float) -> None:
        said = place.last
        if said is not None:
            log.server_rests(
                route=route, failures=place.failures, seconds=int(seconds), stage=said.stage, code=said.code,
                enhanced=said.enhanced,
            )  # fmt: skip

    return tell
