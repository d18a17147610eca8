"""DANE: what TLSA records say about the certificate of a mail server (RFC 6698, RFC 7671, RFC 7672).

Purpose: `tlsa_of` asks for the records of a server, where DNSSEC vouches for every step; `Tlsa.unfit` holds the
certificates that a server shows against them.
It never uses a record that was not validated, and takes a name server's silence for no "there is none" (RFC 7672 2.1):
`Withheld` says that the server must not be used now.
Only usages 2 (DANE-TA) and 3 (DANE-EE) are used; the others rest on authorities nobody agreed on (RFC 7672 3.1.3).
Known limits: a trust anchor is found among the certificates that the server shows, or in full in the record; names of
servers are read from subjectAltName alone; a record too odd for dnspython counts as silence, so that mail waits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from gateway.outbound.mx import Exchange
from gateway.outbound.resolver import Resolver, Unanswered

DANE_TA: Final = 2
DANE_EE: Final = 3
_DIGESTS: Final = {1: hashlib.sha256, 2: hashlib.sha512}
_LONGEST_CHAIN: Final = 10
_UNREADABLE: Final = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What comes of certificates that TLS takes and the library does not, since their keys are of a rare kind."""


def _may_issue(_policy: Policy, _certificate: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("an issuer is none")


# What the web asks of certificates besides (RFC 5280 and the CA/Browser Forum) is not asked of private authorities.
_ISSUERS: Final = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _may_issue)
_SERVERS: Final = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)


class Withheld(Exception):
    """DNS does not say whether there are records, so that the server must not be used (RFC 7672 2.1.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One usable TLSA record. `selector` 0: the certificate, 1: its key. `matching` 0: as it is, 1, 2: its digest."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tlsa:
    """The usable records of one server; none: TLS is to be used, and nobody can say who is there (RFC 7672 2.2).

    `base`: the name they stand under, which is asked for in TLS. `names`: those the certificate may have.
    """

    base: str
    names: tuple[str, ...]
    records: tuple[Record, ...]

    def unfit(self, chain: Sequence[bytes]) -> str:
        """Why a server that shows these certificates (DER, its own first) is not the one meant; "" where it is."""
        if not self.records:
            return ""
        try:
            own = [x509.load_der_x509_certificate(one) for one in chain[:1]]
            if any(_matches(record, one) for record in self._of(DANE_EE) for one in own):
                return ""  # RFC 7671 5.1: neither names nor dates count, nor what else is shown
            others = [x509.load_der_x509_certificate(one) for one in chain[1:_LONGEST_CHAIN]]
            return self._anchored(own + others) if self._of(DANE_TA) else "no TLSA record fits the certificate"
        except _UNREADABLE:
            return "a certificate cannot be read"

    def _of(self, usage: int) -> list[Record]:
        return [record for record in self.records if record.usage == usage]

    def _anchored(self, certificates: Sequence[x509.Certificate]) -> str:
        """Whether a certificate that a record names has issued the server's own, by way of those it shows."""
        given = [one for record in self._of(DANE_TA) if (one := _in_full(record)) is not None]
        anchors = given + [
            one for one in certificates[1:] if any(_matches(record, one) for record in self._of(DANE_TA))
        ]
        if not anchors:
            return "no TLSA record fits an issuer of the certificate"
        policy = PolicyBuilder().store(Store(anchors)).extension_policies(ca_policy=_ISSUERS, ee_policy=_SERVERS)
        why = ""
        for name in self.names:
            try:
                policy.build_server_verifier(x509.DNSName(name)).verify(certificates[0], list(certificates[1:]))
            except (VerificationError, *_UNREADABLE) as failed:
                why = why or f"not issued by the trust anchor for this name: {failed}"
            else:
                return ""
        return why[:200]


def _selected(selector: int, certificate: x509.Certificate) -> bytes:
    if selector == 0:
        return certificate.public_bytes(Encoding.DER)
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _matches(record: Record, certificate: x509.Certificate) -> bool:
    octets = _selected(record.selector, certificate)
    digest = _DIGESTS.get(record.matching)
    return (octets if digest is None else digest(octets).digest()) == record.data


def _in_full(record: Record) -> x509.Certificate | None:
    if (record.selector, record.matching) != (0, 0):
        return None
    try:
        return x509.load_der_x509_certificate(record.data)
    except ValueError:
        return None


def usable(row: tuple[int, int, int, bytes]) -> Record | None:
    """A record as a server's certificate can be held against it; None for one of no use (RFC 7671 4)."""
    usage, selector, matching, data = row
    if usage not in (DANE_TA, DANE_EE) or selector not in (0, 1) or matching not in (0, 1, 2) or not data:
        return None
    digest = _DIGESTS.get(matching)
    if digest is not None and len(data) != digest().digest_size:
        return None
    return Record(usage=usage, selector=selector, matching=matching, data=data)


async def tlsa_of(exchange: Exchange, domain: str, port: int, resolver: Resolver) -> Tlsa | None:
    """The records of a server whose name was validated; None where it has none. Raises Withheld.

    Where CNAMEs led on, the name they led to is looked at first (RFC 7672 2.2.2).
    """
    if not exchange.authentic:
        return None  # nothing below it can be signed; asking would only meet broken name servers
    for base in dict.fromkeys((exchange.canonical, exchange.name)):
        try:
            found = await resolver.look_up(f"_{port}._tcp.{base}", "TLSA")
        except Unanswered as silence:
            raise Withheld(str(silence)) from None
        if found.records and found.authentic:
            records = tuple(record for row in found.records if (record := usable(row)) is not None)
            return Tlsa(base=base, names=tuple(dict.fromkeys((base, exchange.name, domain))), records=records)
    return None
