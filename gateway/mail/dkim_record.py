"""The DKIM record that DNS publishes for a key (RFC 6376 3.6.1; RFC 8463 4): read, and held against our own.

Purpose: what a verifier takes from a record, and in plain words what is wrong with one. It asks no DNS.
Failures: BadRecord, whose text is for a person. Tags nobody knows are passed over, as the RFC says.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey
_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)\Z", re.DOTALL)


class BadRecord(Exception):
    """A record that no signature can be verified with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record that can be used. `testing`: t=y, verifiers are told not to hold anything against the mail.

    `strict`: t=s, the signer's identity (i=) may not be below the domain.
    """

    key: PublicKey
    testing: bool
    strict: bool


def tags_of(text: str) -> dict[str, str]:
    """The tags of a record or a signature, by name (RFC 6376 3.2). BadRecord when it is none, or names one twice."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        tag = _TAG.match(part)
        if tag is None:
            raise BadRecord(f"{part.strip()[:40]!r} is no tag=value")
        if tag[1] in found:
            raise BadRecord(f"it has {tag[1]}= twice")
        found[tag[1]] = tag[2].strip()
    return found


def read_record(text: str) -> Record:
    """What a verifier makes of a record (RFC 6376 3.6.1, 6.1.2). BadRecord says why nothing."""
    tags = tags_of(text)
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise BadRecord("v= is not DKIM1, or not first")
    if "sha256" not in re.split(r"\s*:\s*", tags.get("h", "sha256")):
        raise BadRecord("h= does not allow sha256")
    if not {"*", "email"} & set(re.split(r"\s*:\s*", tags.get("s", "*"))):
        raise BadRecord("s= does not allow e-mail")
    packed = re.sub(r"\s", "", tags.get("p", ""))
    if not packed:
        raise BadRecord("p= is empty: the key is revoked" if "p" in tags else "it has no p=")
    flags = re.split(r"\s*:\s*", tags.get("t", ""))
    return Record(key=_key(tags.get("k", "rsa"), packed), testing="y" in flags, strict="s" in flags)


def _key(kind: str, packed: str) -> PublicKey:
    try:
        octets = b64decode(packed, validate=True)
        if kind == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        key = serialization.load_der_public_key(octets)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise BadRecord("p= holds no key") from None
    if kind != "rsa" or not isinstance(key, rsa.RSAPublicKey):
        raise BadRecord(f"k={kind} does not go with its p=")
    return key


def difference(published: Sequence[str], ours: str) -> str | None:
    """What is wrong with what DNS publishes at the name of a key of ours; None when it is that key.

    `published`: the TXT records there, each with its strings put together; those that are no DKIM records count too,
    for a verifier may take any (RFC 6376 3.6.2.2).
    """
    if not published:
        return "there is no record"
    if len(published) > 1:
        return f"there are {len(published)} TXT records, and a verifier may take any of them: leave one"
    try:
        found = read_record(published[0])
    except BadRecord as bad:
        return f"the record cannot be used: {bad}"
    if _octets(found.key) != _octets(read_record(ours).key):
        return "the record is that of another key"
    if found.testing:
        return "the record says t=y: verifiers treat the mail as unsigned; take that out"
    return None


def _octets(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
