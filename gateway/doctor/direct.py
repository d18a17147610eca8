"""Whether the names that mail servers are greeted with lead to us and back, where mail is sent directly.

Large mailbox providers refuse mail from an address whose name (PTR) does not lead back to it; the name in EHLO should
be that name (RFC 5321 4.1.4, RFC 1912 2.1).
"""

import asyncio
from collections.abc import Sequence

from gateway.config import Config
from gateway.direct_ways import senders
from gateway.doctor.finding import Finding
from gateway.outbound.direct import Sender
from gateway.outbound.resolver import Resolver, Unanswered


async def names(config: Config, resolver: Resolver) -> list[Finding]:
    """One finding per name, of the controllers with a stream on an `mx` route."""
    used = {
        sender
        for name, sender in senders(config).items()
        if any(config.routes[stream.route].kind == "mx" for stream in config.controllers[name].streams.values())
    }
    return list(await asyncio.gather(*(_name(sender, resolver) for sender in sorted(used, key=lambda one: one.helo))))


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
