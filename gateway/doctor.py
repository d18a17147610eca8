"""What an installation rests on: keys that load, a certificate that holds, disk, and what DNS publishes.

Findings are values; nothing is changed. DNS is asked only here, never for a decision.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.config import MARKETING, Config, DkimKey
from gateway.mail.dkim import load_signer, public_record
from gateway.settings.readiness import serve_problems, serve_warnings

CERTIFICATE_WARNING = timedelta(days=14)
DNS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `good` False: a person should do what `text` says."""

    check: str
    good: bool
    text: str


def local(config: Config, *, now: datetime, free_bytes: int) -> list[Finding]:
    """What this machine alone can tell: signing keys, certificate, streams, disk."""
    found = [Finding(check=p.key, good=False, text=f"{p.what}. {p.remedy}.") for p in serve_problems(config, now)]
    found += [Finding(check=p.key, good=False, text=f"{p.what}. {p.remedy}.") for p in serve_warnings(config, now)]
    found += _signing(config)
    found += _streams(config)
    if config.tls is not None:
        found.append(_certificate(config, now))
    enough = free_bytes > config.limits.free_disk_bytes
    text = f"{free_bytes // 1024**2} MiB free" + ("" if enough else "; new mail is refused: make room")
    found.append(Finding(check="disk", good=enough, text=text))
    return found


def _record(key: DkimKey) -> str | None:
    """The record that belongs to a signing key, None when the key cannot be used."""
    try:
        return public_record(load_signer(key.domain, key.selector, key.key.read_bytes()))
    except (OSError, ValueError):
        return None


def _signing(config: Config) -> Iterator[Finding]:
    for controller in config.controllers.values():
        for key in controller.dkim:
            good = _record(key) is not None
            text = "loads" if good else f"{key.key} is no usable private key: make a new one and publish it"
            yield Finding(check=f"dkim {key.selector}._domainkey.{key.domain}", good=good, text=text)


def _streams(config: Config) -> Iterator[Finding]:
    for controller in config.controllers.values():
        signing = {key.domain for key in controller.dkim}
        for stream in controller.streams.values():
            name = f"stream {controller.id}/{stream.name}"
            unsigned = [domain for domain in stream.from_domains if domain not in signing]
            if unsigned:
                yield Finding(
                    check=name, good=False, text=f"no signing key for {', '.join(unsigned)}: its mail is blocked"
                )
            if stream.message_class in MARKETING and not stream.purpose and not stream.purposes:
                yield Finding(check=name, good=False, text="no purpose: its mail is blocked (PURPOSE_MISSING)")
        for what, value in (
            ("legal_name", controller.legal_name),
            ("postal_address", controller.postal_address),
            ("opt_out_contact", controller.opt_out_contact),
        ):
            if not value:
                yield Finding(
                    check=f"controller {controller.id}", good=False, text=f"{what} is empty: marketing is blocked"
                )


def _certificate(config: Config, now: datetime) -> Finding:
    from cryptography import x509

    assert config.tls is not None
    try:
        ends = x509.load_pem_x509_certificate(config.tls.certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return Finding(
            check="certificate", good=False, text=f"{config.tls.certificate} is no PEM certificate: replace it"
        )
    good = ends - now > CERTIFICATE_WARNING
    return Finding(check="certificate", good=good, text=f"valid until {ends:%Y-%m-%d}" + ("" if good else ": renew it"))


async def published(config: Config) -> list[Finding]:
    """Hold DNS against the settings: the record of each signing key, an MX for each return path."""
    keys = [key for controller in config.controllers.values() for key in controller.dkim]
    domains = [c.return_domain for c in config.controllers.values() if c.return_domain]
    return list(await asyncio.gather(*map(_published_key, keys), *map(_published_mx, domains)))


async def _published_key(key: DkimKey) -> Finding:
    name = f"{key.selector}._domainkey.{key.domain}"
    texts = await _ask(name, "TXT")
    if texts is None:
        return Finding(check=f"dns {name}", good=False, text="no answer: publish the text of dkim/DOMAIN.txt")
    wanted = re.search(r"p=([^;\s]+)", _record(key) or "")
    shown = [re.search(r"p=([^;]+)", re.sub(r"[\s\"]", "", text)) for text in texts]
    good = wanted is not None and any(found and found.group(1) == wanted.group(1) for found in shown)
    return Finding(check=f"dns {name}", good=good, text="the key is published" if good else "another key is published")


async def _published_mx(domain: str) -> Finding:
    answers = await _ask(domain, "MX")
    text = "has an MX" if answers else "has no MX: bounces and opt-outs by mail cannot come back"
    return Finding(check=f"dns {domain}", good=bool(answers), text=text)


async def _ask(name: str, kind: str) -> list[str] | None:
    """The answers as text, None when there are none or the question failed."""
    import dns.asyncresolver
    import dns.exception

    try:
        async with asyncio.timeout(DNS_SECONDS):
            return [record.to_text() for record in await dns.asyncresolver.resolve(name, kind)]
    except (dns.exception.DNSException, OSError, TimeoutError):
        return None
