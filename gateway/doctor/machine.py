"""What this machine alone can tell: signing keys, who signs, certificate, streams, disk. Nothing is changed."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from gateway.config import MARKETING, Config, Controller, Stream
from gateway.doctor.finding import Finding
from gateway.mail.dkim import MINIMUM_BITS
from gateway.mail.provider import Provider, omitted, provider_of
from gateway.settings.readiness import serve_problems, serve_warnings
from gateway.signing_keys import SigningKey, signing_keys

PROVEN_FOR = timedelta(days=90)
"""How long a loop check says something about a provider."""
CERTIFICATE_WARNING = timedelta(days=14)


Loops = Mapping[tuple[str, str], datetime]
"""When a loop check of a stream (controller, name) last went well."""


def local(config: Config, *, now: datetime, free_bytes: int, loops: Loops) -> list[Finding]:
    """What this machine alone can tell: signing keys, certificate, streams, disk."""
    found = [Finding(check=p.key, good=False, text=f"{p.what}. {p.remedy}.") for p in serve_problems(config, now)]
    found += [Finding(check=p.key, good=False, text=f"{p.what}. {p.remedy}.") for p in serve_warnings(config, now)]
    found += [_key(one, now) for one in signing_keys(config)]
    found += _streams(config)
    found += _signed_by(config, loops, now)
    if config.tls is not None:
        found.append(_certificate(config, now))
    enough = free_bytes > config.limits.free_disk_bytes
    text = f"{free_bytes // 1024**2} MiB free" + ("" if enough else "; new mail is refused: make room")
    found.append(Finding(check="disk", good=enough, text=text))
    return found


def _key(one: SigningKey, now: datetime) -> Finding:
    """Whether a key can be used, what it does, and what DNS should have."""
    key, signer = one.key, one.signer
    check = f"dkim {key.name}"
    if signer is None:
        text = (
            f"{key.key} is no usable private key ({one.broken}): put it back, or make a new one: consentgate dkim new"
        )
        return Finding(check=check, good=False, text=text)
    if signer.weak:
        text = f"an RSA key under {MINIMUM_BITS} bits (RFC 8301): make a new one: consentgate dkim new {key.domain}"
        return Finding(check=check, good=False, text=text, record=one.zone_line)
    if key.state == "waiting":
        text = f"{signer.algorithm}, waits: publish its record, then: consentgate dkim activate {key.domain}"
    elif key.state == "retired" and one.removable_at is not None:
        text = f"{signer.algorithm}, signs no more; its record stays until {one.removable_at:%Y-%m-%d}"
        if now >= one.removable_at:
            text = f"{signer.algorithm}, may go now: consentgate dkim remove {key.domain} {key.selector}"
    else:
        text = f"{signer.algorithm}, signs"
    return Finding(check=check, good=True, text=text, record=one.zone_line)


def _signed_by(config: Config, loops: Loops, now: datetime) -> Iterator[Finding]:
    for controller in config.controllers.values():
        for stream in controller.streams.values():
            if config.signing(stream) == "upstream":
                proven = loops.get((controller.id, stream.name))
                yield _by_provider(config, controller, stream, proven if proven and now - proven < PROVEN_FOR else None)
            elif (found := _by_us(config, controller, stream)) is not None:
                yield found


def _providers(config: Config, stream: Stream) -> dict[str, Provider | None]:
    return {one.host: provider_of(one.host) for one in config.routes[stream.route].hosts}


def _by_us(config: Config, controller: Controller, stream: Stream) -> Finding | None:
    """What has to be known of a route to known providers that we sign for; None where there is nothing."""
    known = [one for one in _providers(config, stream).values() if one is not None]
    if not known:
        return None
    check, names = f"signing {controller.id}/{stream.name}", ", ".join(one.name for one in known)
    if any(one.rebuilds for one in known):
        text = f'{names} assembles mail anew, which breaks our signature: set dkim = "upstream" and let it sign'
        return Finding(check=check, good=False, text=text)
    left = ", ".join(sorted(name.decode() for name in omitted(_providers(config, stream)))) or "nothing"
    return Finding(check=check, good=True, text=f"own; left out because {names} rewrites it: {left}")


def _by_provider(config: Config, controller: Controller, stream: Stream, proven: datetime | None) -> Finding:
    """Mail that we leave unsigned: what has to be seen to at the provider, until a loop check has shown that it is."""
    known = _providers(config, stream)
    if proven is not None:
        text = f"upstream: the loop check of {proven:%Y-%m-%d} found its signature over what has to be signed"
        return Finding(check=f"signing {controller.id}/{stream.name}", good=True, text=text)
    domains = ", ".join(stream.from_domains)
    text = (
        f"upstream: not we but {', '.join(one.name if one else host for host, one in known.items())} signs. See there "
        f"that DKIM is on with d= {domains} and covers List-Unsubscribe and List-Unsubscribe-Post, then look at what "
        f"arrives: consentgate doctor --loop --stream {stream.name}"
    )
    if any(one is not None and one.own_opt_out for one in known.values()):
        text += ". It may put its own List-Unsubscribe in place of ours: switch that off"
    return Finding(check=f"signing {controller.id}/{stream.name}", good=False, text=text)


def _streams(config: Config) -> Iterator[Finding]:
    for controller in config.controllers.values():
        signing = controller.signing_domains
        for stream in controller.streams.values():
            name = f"stream {controller.id}/{stream.name}"
            unsigned = [domain for domain in stream.from_domains if domain not in signing]
            if unsigned and config.signing(stream) == "own":
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
