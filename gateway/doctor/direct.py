"""Mail that is sent directly: whether the names that servers are greeted with lead to us and back, and where mail for a
domain would go.

Large mailbox providers refuse mail from an address whose name (PTR) does not lead back to it; the name in EHLO should
be that name (RFC 5321 4.1.4, RFC 1912 2.1).
"""

import asyncio
from collections.abc import Sequence

from gateway.config import Config, Route
from gateway.direct_ways import direct, senders
from gateway.doctor.finding import Finding
from gateway.outbound.connect import ConnectFailed
from gateway.outbound.direct import Prospect, Sender
from gateway.outbound.resolver import Resolver, Unanswered

_FAULTS = {
    "sts-policy-fetch-error": "it says that it has an MTA-STS policy, which cannot be fetched",
    "sts-policy-invalid": "its MTA-STS policy is none",
    "validation-failure": "a mail server is not among those that its MTA-STS policy names",
    "dnssec-invalid": "DNS does not say whether a mail server has TLSA records: it is not used",
}


async def names(config: Config, resolver: Resolver) -> list[Finding]:
    """One finding per name, of the controllers with a stream on an `mx` route."""
    used = {
        sender
        for name, sender in senders(config).items()
        if any(config.routes[stream.route].kind == "mx" for stream in config.controllers[name].streams.values())
    }
    return list(await asyncio.gather(*(_name(sender, resolver) for sender in sorted(used, key=lambda one: one.helo))))


async def destination(config: Config, domain: str) -> list[Finding]:
    """Where mail for a domain would go by each `mx` route, and over what kind of line. Nobody is connected to."""
    routes = [route for route in config.routes.values() if route.kind == "mx"]
    if not routes:
        return [Finding(check=f"to {domain}", good=False, text="no route is of kind mx")]
    return [finding for route in routes for finding in await _by(config, route, domain)]


async def _by(config: Config, route: Route, domain: str) -> list[Finding]:
    check, faults = f"{route.name} to {domain}", list[str]()
    way = direct(config, route, before=None, pace=None, note=lambda _, fault: faults.append(fault))
    try:
        found = [Finding(check=check, good=True, text=_terms(one)) for one in await way.prospects(domain, "")]
    except ConnectFailed as none:
        found = [Finding(check=check, good=False, text=f"{none.outcome.enhanced} {none.outcome.text}")]
    finally:
        await way.close()
    told = [_FAULTS.get(fault, fault) for fault in dict.fromkeys(faults)]
    return found + [Finding(check=check, good=False, text=text) for text in told]


def _terms(one: Prospect) -> str:
    by = {"tlsa": "its TLSA records ask", "sts": "its MTA-STS policy asks", "no-policy-found": "routes.*.tls asks"}
    line = "TLS where it is offered"
    if one.encrypted:
        line = f"TLS, and it must {'prove who it is' if one.verified else 'be offered'}, as {by[one.demand]}"
    elif one.demand == "sts":
        line = "TLS where it is offered; its MTA-STS policy is in testing"
    return f"{one.host} ({', '.join(one.addresses)}): {line}"


async def _name(sender: Sender, resolver: Resolver) -> Finding:
    check = f"dns {sender.helo} HELO"
    try:
        leads = [
            text for kind in ("A", "AAAA") for (text,) in (await resolver.look_up(sender.helo, kind)).records
        ]  # fmt: skip
        wrong = await _wrong(sender, leads, resolver)
    except Unanswered as silence:
        return Finding(check=check, good=False, text=f"DNS did not answer ({silence}): try again")
    if wrong:
        return Finding(check=check, good=False, text=wrong)
    text = f"leads to {', '.join(sender.sources or leads)} and back"
    if not sender.sources:
        text += "; that mail leaves from there, only source_addresses can say"
    return Finding(check=check, good=True, text=text)


async def _wrong(sender: Sender, leads: Sequence[str], resolver: Resolver) -> str:
    if not leads:
        return f"has no address: publish an A record for {sender.helo}, or name another with helo"
    for source in sender.sources or leads:
        if source not in leads:
            return f"does not lead to {source}, from which mail leaves: publish it as its address"
        back = await resolver.names_of(source)
        if sender.helo not in back:
            has = f"leads back to {', '.join(back)}" if back else "leads back to no name"
            return f"{source} {has}: have whoever gave you the address set its PTR to {sender.helo}"
    return ""
