"""Verifies DKIM signatures (RFC 6376, RFC 8463): of a sample of what left, and of what arrived in a seed mailbox.

Purpose: a second opinion. It shares no code with dkim.py, which signs: canonical forms are made line by line from the
text of the RFC, so that a mistake there is not made here too.
It asks no DNS: records come as an argument. It takes rsa-sha256 and ed25519-sha256; SHA-1 and RSA under 1024 bits count
as no signature (RFC 8301). A signature that covers only a part of the body (l=) is not good enough here.
Failures: none; what is wrong with a signature is in its `why`.
"""

import binascii
import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

from gateway.mail.dkim_record import BadRecord, read_record, tags_of

_NEEDED = ("v", "a", "b", "bh", "d", "h", "s")
_ALGORITHMS = {"rsa-sha256": rsa.RSAPublicKey, "ed25519-sha256": ed25519.Ed25519PublicKey}
_SPACES = re.compile(rb"[ \t]+")
_LEAST_BITS = 1024


class _Wrong(Exception):
    """Why a signature does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One signature. `covered`: the fields in h=, lower case, one entry per time; empty where it cannot be read.

    `why`: what is wrong, in plain words; empty when it verifies.
    """

    domain: str
    selector: str
    algorithm: str
    covered: tuple[str, ...]
    why: str

    @property
    def good(self) -> bool:
        return not self.why

    def covers(self, name: str) -> bool:
        """Whether it verifies and a field of this name is in it."""
        return self.good and name in self.covered


@dataclass(frozen=True, slots=True)
class _Field:
    name: bytes
    raw: bytes
    """Name, colon and value as they stand, with the last CRLF."""


def names_asked(message: bytes) -> tuple[str, ...]:
    """Where the records of the signatures of a message are, each name once."""
    found: dict[str, None] = {}
    for field in _signatures(_fields(_parts(message)[0])):
        tags = _tags(field)
        if tags.get("s") and tags.get("d"):
            found[f"{tags['s']}._domainkey.{tags['d']}".lower()] = None
    return tuple(found)


def check(message: bytes, records: Mapping[str, str], *, at: int | None = None) -> tuple[Checked, ...]:
    """Every signature of a message, the topmost first. `records`: by the names of `names_asked`, absent: not published.

    `message`: CRLF, as it was on the wire. `at`: Unix time that x= is held against; None: it is not looked at.
    """
    head, body = _parts(message)
    fields = list(_fields(head))
    return tuple(_check(field, fields, body, records, at) for field in _signatures(fields))


def _check(field: _Field, fields: list[_Field], body: bytes, records: Mapping[str, str], at: int | None) -> Checked:
    tags = _tags(field)
    covered = tuple(name.strip().lower() for name in tags.get("h", "").split(":") if name.strip())
    why = ""
    try:
        _verify(field, tags, covered, fields, body, records, at)
    except (_Wrong, BadRecord) as wrong:
        why = str(wrong)
    return Checked(
        domain=tags.get("d", "").lower(), selector=tags.get("s", "").lower(), algorithm=tags.get("a", ""),
        covered=covered, why=why,
    )  # fmt: skip


def _verify(
    field: _Field, tags: Mapping[str, str], covered: tuple[str, ...], fields: list[_Field], body: bytes,
    records: Mapping[str, str], at: int | None,
) -> None:  # fmt: skip
    """RFC 6376 6.1, in its order; _Wrong or BadRecord at the first thing that is not as it should be."""
    tags_of(field.raw.partition(b":")[2].decode("ascii", "replace"))  # says which tag is unreadable, or there twice
    if missing := [name for name in _NEEDED if not tags.get(name)]:
        raise _Wrong(f"the signature has no {missing[0]}=")
    if tags["v"] != "1":
        raise _Wrong("the signature is of a version nobody knows")
    if tags["a"] not in _ALGORITHMS:
        raise _Wrong(f"{tags['a']} does not count (RFC 8301)")
    if "from" not in covered:
        raise _Wrong("From is not signed")
    identity = tags.get("i", "@" + tags["d"]).rpartition("@")[2].lower()
    if identity != tags["d"].lower() and not identity.endswith("." + tags["d"].lower()):
        raise _Wrong("i= is not in d=")
    if "l" in tags:
        raise _Wrong("l= leaves a part of the body unsigned")
    if at is not None and tags.get("x", "").isdigit() and int(tags["x"]) < at:
        raise _Wrong("the signature has expired (x=)")
    published = records.get(f"{tags['s']}._domainkey.{tags['d']}".lower())
    if published is None:
        raise _Wrong("no record is published for its key")
    record = read_record(published)
    if record.strict and identity != tags["d"].lower():
        raise _Wrong("the record wants i= to be d= (t=s)")
    head_form, _, body_form = tags.get("c", "simple/simple").partition("/")
    forms = (head_form, body_form or "simple")
    if not set(forms) <= {"simple", "relaxed"}:
        raise _Wrong("c= is a form nobody knows")
    if hashlib.sha256(_body(body, forms[1])).digest() != _octets(tags["bh"]):
        raise _Wrong("the body was changed after it was signed")
    digest = hashlib.sha256(b"".join(_covered(field, covered, fields, forms[0]))).digest()
    _prove(record.key, tags["a"], _octets(tags["b"]), digest)


def _prove(key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey, algorithm: str, signature: bytes, digest: bytes) -> None:
    if not isinstance(key, _ALGORITHMS[algorithm]):
        raise _Wrong("the record is of another kind of key")
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, digest)
        elif key.key_size < _LEAST_BITS:
            raise _Wrong(f"a key of {key.key_size} bits does not count (RFC 8301)")
        else:
            # the digest goes in as the hash of what was signed, which is how PKCS #1 has it
            key.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    except InvalidSignature:
        raise _Wrong("a signed field was changed, added or taken out, or another key signed") from None


def _parts(message: bytes) -> tuple[bytes, bytes]:
    if message.startswith(b"\r\n"):
        return b"", message[2:]
    head, found, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n" if found else head, body


def _fields(head: bytes) -> Iterator[_Field]:
    """The fields with their folded lines; what is no field ends nothing and counts for nothing."""
    raw = b""
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and raw:
            raw += line + b"\r\n"
            continue
        if b":" in raw:
            yield _Field(raw.partition(b":")[0].strip(b" \t").lower(), raw)
        raw = line + b"\r\n" if line else b""
    if b":" in raw:
        yield _Field(raw.partition(b":")[0].strip(b" \t").lower(), raw)


def _signatures(fields: Iterator[_Field] | list[_Field]) -> list[_Field]:
    return [field for field in fields if field.name == b"dkim-signature"]


def _tags(field: _Field) -> dict[str, str]:
    """The tags of a signature, white space taken out of the values; none where it cannot be read."""
    try:
        found = tags_of(field.raw.partition(b":")[2].decode("ascii", "replace"))
    except BadRecord:
        return {}
    return {name: re.sub(r"\s+", "", value) for name, value in found.items()}


def _octets(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise _Wrong("the signature is not base64") from None


def _covered(field: _Field, names: tuple[str, ...], fields: list[_Field], form: str) -> Iterator[bytes]:
    """What h= stands for: each name the next field of it from the bottom up, then the signature itself without its
    value (RFC 6376 3.5, 3.7, 5.4.2)."""
    left: dict[bytes, list[_Field]] = {}
    for one in fields:
        if one is not field:
            left.setdefault(one.name, []).append(one)
    for name in names:
        if stack := left.get(name.encode()):
            yield _header(stack.pop().raw, form)
    bare = re.sub(rb"((?:^|[;:])\s*b\s*=)[^;]*", rb"\1", field.raw.removesuffix(b"\r\n"), count=1)
    yield _header(bare + b"\r\n", form).removesuffix(b"\r\n")


def _header(raw: bytes, form: str) -> bytes:
    """One field in canonical form (RFC 6376 3.4.1, 3.4.2)."""
    if form == "simple":
        return raw
    name, _, value = raw.partition(b":")
    unfolded = b"".join(value.split(b"\r\n"))
    return name.strip(b" \t").lower() + b":" + _SPACES.sub(b" ", unfolded).strip(b" ") + b"\r\n"


def _body(body: bytes, form: str) -> bytes:
    """The body in canonical form (RFC 6376 3.4.3, 3.4.4)."""
    lines = body.split(b"\r\n")
    if form == "relaxed":
        lines = [_SPACES.sub(b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if form == "relaxed" else b"\r\n"
    return b"\r\n".join(lines) + b"\r\n"
