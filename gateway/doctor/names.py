"""What DNS publishes, held against the settings: signing keys, DMARC, the return path. Nothing is changed."""

import asyncio
import re
from collections.abc import Iterable
from datetime import datetime

from gateway.config import Config, Controller
from gateway.doctor.finding import Finding
from gateway.mail.dkim_record import difference
from gateway.mail.provider import provider_of
from gateway.outbound.resolver import Resolver, Unanswered
from gateway.signing_keys import SigningKey, signing_keys


async def published(config: Config, resolver: Resolver, *, now: datetime) -> list[Finding]:
    """The record of each key, DMARC of each From domain, MX and SPF of each return domain; asked all at once."""
    controllers = config.controllers.values()
    returns = [c.return_domain for c in controllers if c.return_domain]
    return list(await asyncio.gather(
        *(_key(one, resolver, now) for one in signing_keys(config)),
        *(_dmarc(domain, resolver) for domain in _from_domains(controllers)),
        *(_mail_host(domain, resolver) for domain in returns),
        *(_spf(domain, config, resolver) for domain in returns),
    ))  # fmt: skip


def _from_domains(controllers: Iterable[Controller]) -> dict[str, None]:
    """The domains of From fields, each once."""
    return {domain: None for c in controllers for stream in c.streams.values() for domain in stream.from_domains}


async def _key(one: SigningKey, resolver: Resolver, now: datetime) -> Finding:
    """One key: what signs has to be there, what was retired has to stay until its mail has arrived."""
    check, ours = f"dns {one.key.name}", one.record
    if ours is None:
        return Finding(check=check, good=False, text="not asked: our own key cannot be used")
    try:
        wrong = difference(await resolver.texts(one.key.name), ours)
    except Unanswered as silence:
        return Finding(check=check, good=False, text=f"DNS did not answer ({silence}): try again")
    due = one.removable_at
    if one.key.state == "retired" and due is not None:
        if now < due:
            gone = f"{wrong}, and mail signed with it is under way until {due:%Y-%m-%d}: publish it again"
            return Finding(check=check, good=wrong is None, text=gone if wrong else f"published until {due:%Y-%m-%d}")
        text = "no longer published" if wrong else "published, and may go"
        return Finding(check=check, good=True, text=text)
    if one.key.state == "waiting":
        text = f"not yet: {wrong}" if wrong else f"published: consentgate dkim activate {one.key.domain}"
        return Finding(check=check, good=wrong is None, text=text, record=one.zone_line if wrong else None)
    text = f"{wrong}: publish this" if wrong else "the key is published"
    return Finding(check=check, good=wrong is None, text=text, record=one.zone_line if wrong else None)


async def _dmarc(domain: str, resolver: Resolver) -> Finding:
    """Whether the From domain, or one above it, says what to do with mail that fails (RFC 7489 6.6.3; the tree is
    walked up as in its successor, so that no list of public suffixes is needed). Our d= is the From domain itself,
    which is aligned in strict mode too."""
    check, labels = f"dns _dmarc.{domain}", domain.split(".")
    try:
        for start in range(max(1, len(labels) - 1)):
            at = ".".join(labels[start:])
            found = [text for text in await resolver.texts(f"_dmarc.{at}") if text.startswith("v=DMARC1")]
            if len(found) > 1:
                return Finding(check=check, good=False, text=f"{len(found)} records at {at}, so none counts: leave one")
            if found:
                policy = re.search(r";\s*p\s*=\s*(\w+)", found[0])
                text = f"policy {policy[1]} at {at}" if policy else f"the record at {at} has no p="
                return Finding(check=check, good=policy is not None, text=text)
    except Unanswered as silence:
        return Finding(check=check, good=False, text=f"DNS did not answer ({silence}): try again")
    text = f'none, and large mailbox providers want one: begin with "v=DMARC1; p=none" at _dmarc.{domain}'
    return Finding(check=check, good=False, text=text)


async def _mail_host(domain: str, resolver: Resolver) -> Finding:
    check = f"dns {domain}"
    try:
        hosts = await resolver.mail_hosts(domain)
    except Unanswered as silence:
        return Finding(check=check, good=False, text=f"DNS did not answer ({silence}): try again")
    if any(hosts):
        return Finding(check=check, good=True, text=f"mail for it goes to {', '.join(hosts)}")
    return Finding(check=check, good=False, text="has no MX: bounces and opt-outs by mail cannot come back")


async def _spf(domain: str, config: Config, resolver: Resolver) -> Finding:
    """SPF is asked of the envelope's domain (RFC 7208 2.4): the return domain, unless a provider puts its own."""
    check = f"dns {domain} SPF"
    try:
        found = [text for text in await resolver.texts(domain) if re.match(r"v=spf1(?:\s|\Z)", text)]
    except Unanswered as silence:
        return Finding(check=check, good=False, text=f"DNS did not answer ({silence}): try again")
    hosts = [one.host for route in config.routes.values() for one in route.hosts]
    wanted = {one.spf for host in hosts if (one := provider_of(host)) is not None and one.spf}
    if not found:
        direct = any(route.kind == "mx" for route in config.routes.values())
        words = " ".join(
            ["v=spf1", *(sorted(wanted) or [f"a:{config.hostname}" if direct else "a:YOUR-SMARTHOST"]), "~all"]
        )
        return Finding(check=check, good=False, text=f'none: name who may send with this return path, as "{words}"')
    if len(found) > 1:
        return Finding(check=check, good=False, text=f"{len(found)} records, which is an error to receivers: leave one")
    if missing := [word for word in sorted(wanted) if word not in found[0].split()]:
        return Finding(check=check, good=False, text=f"does not have {', '.join(missing)}, by which its route leaves")
    return Finding(check=check, good=True, text="has a record; that your smarthost is in it, only its owner can say")
