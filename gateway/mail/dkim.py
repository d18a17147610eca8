"""DKIM signing (RFC 6376), relaxed/relaxed, with rsa-sha256 and ed25519-sha256 (RFC 8463), and the DNS records for it.

Purpose: the signature fields of one copy, made last, after every other change.
It never verifies (dkim_check.py does, and shares no code with this), never limits the length it signs (no l= tag: text
could be added below the signature), never uses SHA-1 or a key under 1024 bits, never makes one under 2048 (RFC 8301),
and looks at nothing but the bytes it is given.
Failures: ValueError for a key, domain or selector that cannot be used; `sign` itself fails on no input.
Cost: one pass over the head, one over the body for all signers together; white space is looked at closely only
where a plain search found some (a regular expression over a whole newsletter costs more than the RSA signature).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]
PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

OVERSIGNED: tuple[bytes, ...] = (
    b"from", b"to", b"subject", b"date", b"reply-to", b"list-unsubscribe", b"list-unsubscribe-post",
)  # fmt: skip
"""Named once more in h= than they occur, so that none can be added on the way (RULES 5.3; RFC 6376 8.15)."""

SIGNED: tuple[bytes, ...] = (
    b"cc", b"message-id", b"mime-version", b"content-type", b"content-transfer-encoding", b"list-id", b"feedback-id",
)  # fmt: skip
"""Signed wherever they occur; absent ones may still be added by a provider (Message-ID) without breaking us."""

LEAST_BITS = 1024
"""An RSA key below this is no signature to a verifier (RFC 8301 3.2)."""
MINIMUM_BITS = 2048
"""What a signer should have (RFC 8301 3.2): new keys are never smaller, older ones are warned of."""
_PKCS1 = padding.PKCS1v15()
_DIGEST = utils.Prehashed(hashes.SHA256())
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\Z")
_BLANK_LINES = b"\r\n" * 1024
_BLOCK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One key and the name it is published under. `domain` (d=) and `selector` (s=) are ASCII, A-labels for IDN.

    ValueError when a name is not one DNS can hold, the key is of the other algorithm, or RSA under 1024 bits.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    key: PrivateKey

    def __post_init__(self) -> None:
        for what, name in (("domain", self.domain), ("selector", self.selector)):
            if len(name) > 253 or not all(_LABEL.match(label) for label in name.split(".")):
                raise ValueError(f"DKIM {what} {name!r} is not a DNS name")
        if isinstance(self.key, rsa.RSAPrivateKey):
            if self.algorithm != "rsa-sha256":
                raise ValueError("an RSA key signs rsa-sha256 only")
            if self.key.key_size < LEAST_BITS:
                raise ValueError(f"RSA key has {self.key.key_size} bits, verifiers want {LEAST_BITS} (RFC 8301)")
        elif self.algorithm != "ed25519-sha256":
            raise ValueError("an Ed25519 key signs ed25519-sha256 only")

    @property
    def weak(self) -> bool:
        """An RSA key that verifiers take, and that should be replaced (RFC 8301 3.2)."""
        return isinstance(self.key, rsa.RSAPrivateKey) and self.key.key_size < MINIMUM_BITS

    def signature(self, digest: bytes) -> bytes:
        """The raw signature over a SHA-256 digest. RFC 8463 3: Ed25519 signs the digest as its message."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(digest, _PKCS1, _DIGEST)
        return self.key.sign(digest)


@lru_cache(maxsize=1024)
def load_signer(domain: str, selector: str, pem: bytes) -> Signer:
    """A signer from an unencrypted PEM private key (PKCS#8 or PKCS#1). ValueError says what is wrong with it.

    Remembered: whether the numbers of an RSA key are those of a key takes 40 ms.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key is encrypted
        raise ValueError(f"DKIM key cannot be used: {error}") from None
    if isinstance(key, rsa.RSAPrivateKey):
        return Signer(domain=domain, selector=selector, algorithm="rsa-sha256", key=key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Signer(domain=domain, selector=selector, algorithm="ed25519-sha256", key=key)
    raise ValueError("DKIM key is neither RSA nor Ed25519")


def generate(algorithm: Algorithm, bits: int = 2048) -> bytes:
    """A new private key as unencrypted PKCS#8 PEM; `bits` counts for RSA only. ValueError under 2048 bits."""
    key: PrivateKey
    if algorithm == "ed25519-sha256":
        key = ed25519.Ed25519PrivateKey.generate()
    elif bits < MINIMUM_BITS:
        raise ValueError(f"{bits} bits are too few, {MINIMUM_BITS} are needed (RFC 8301)")
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_record(signer: Signer) -> str:
    """The value to publish at SELECTOR._domainkey.DOMAIN (RFC 6376 3.6.1; RFC 8463 4: the bare 32 octets)."""
    public = signer.key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        kind = "rsa"
        octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, octets = "ed25519", public.public_bytes_raw()
    return f"v=DKIM1; k={kind}; p={b64encode(octets).decode()}"


def bind_txt(domain: str, selector: str, record: str) -> str:
    """Exactly one TXT record for a BIND zone, ending in a newline, without comments.

    A character-string holds 255 octets (RFC 1035 3.3), so a long record is several in parentheses.
    ValueError when the record is not printable ASCII.
    """
    if not record.isascii() or not record.isprintable():
        raise ValueError("a DKIM record is printable ASCII")
    pieces = [record[i : i + 255] for i in range(0, len(record), 255)] or [""]
    quoted = ['"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces]
    return f"{selector}._domainkey.{domain}. IN TXT ( " + "\n\t".join(quoted) + " )\n"


def sign(
    head: bytes,
    body: bytes | Sequence[bytes | memoryview],
    signers: Sequence[Signer],
    *,
    at: int | None,
    omit: frozenset[bytes] = frozenset(),
) -> bytes:
    """The DKIM-Signature fields, one per signer, each with CRLF, to be put before `head`.

    `head`: header fields as CRLF lines, without the blank line; `body`: what follows it, as it will be on the wire
    (a missing last CRLF is counted in, since SMTP cannot leave it out), whole or in pieces, which are read a block at a
    time. `at`: Unix time for t=, None leaves it out.
    `omit`: lower-case names of fields the route's provider rewrites (provider.py); From cannot be omitted.
    No signers: b"". Fails on no head and no body; ValueError only for an `omit` that names From.
    """
    if b"from" in omit:
        raise ValueError("From must be signed (RFC 6376 5.4)")
    if not signers:
        return b""
    names, covered = _covered(head, omit)
    body_hash = b64encode(body_digest(body))
    when = b"" if at is None else b" t=%d;" % at
    fields = []
    for signer in signers:
        unsigned = b"v=1; a=%b; c=relaxed/relaxed;\r\n d=%b; s=%b;%b\r\n h=%b;\r\n bh=%b;\r\n b=" % (
            signer.algorithm.encode(), signer.domain.encode(), signer.selector.encode(), when,
            _folded_names(names), body_hash,
        )  # fmt: skip
        # RFC 6376 3.7: the field being made comes last, its b= empty, without the final CRLF
        data = b"%bdkim-signature:%b" % (covered, unsigned.replace(b"\r\n", b""))
        value = b64encode(signer.signature(hashlib.sha256(data).digest()))
        folded = b"\r\n ".join([value[i : i + 72] for i in range(0, len(value), 72)])
        fields.append(b"DKIM-Signature: %b%b\r\n" % (unsigned, folded))
    return b"".join(fields)


def body_digest(body: bytes | Sequence[bytes | memoryview]) -> bytes:
    """SHA-256 of the relaxed body. In pieces it is never joined: what is in memory besides it is a few blocks."""
    if isinstance(body, bytes):
        return hashlib.sha256(relaxed_body(body)).digest()
    digest = hashlib.sha256()
    blank = 0  # line ends that count only if something follows
    for lines in _whole_lines(body):
        relaxed = _relaxed_lines(lines)
        end = _content_end(relaxed)
        if not end:
            blank += len(relaxed)
            continue
        while blank:
            digest.update(_BLANK_LINES[: min(blank, len(_BLANK_LINES))])
            blank -= min(blank, len(_BLANK_LINES))
        digest.update(memoryview(relaxed)[: end + 2])
        blank = len(relaxed) - end - 2
    return digest.digest()


def _whole_lines(pieces: Sequence[bytes | memoryview]) -> Iterator[bytes]:
    """The octets of all pieces in blocks that end with a line; the last one gets its CRLF if it has none."""
    kept: list[bytes] = []
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            block = bytes(piece[start : start + _BLOCK])
            if kept and kept[-1].endswith(b"\r") and block.startswith(b"\n"):
                block = kept.pop() + block
            cut = block.rfind(b"\r\n") + 2
            if cut >= 2:
                kept.append(block[:cut])
                yield b"".join(kept)
                kept.clear()
                block = block[cut:]
            if block:
                kept.append(block)
    if kept:
        yield b"".join((*kept, b"\r\n"))


def relaxed_body(body: bytes) -> bytes:
    """The body in relaxed form (RFC 6376 3.4.4): white space runs become one space, none at a line's end, no blank
    lines at the end, a CRLF after the last line; an empty body stays empty."""
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    body = _relaxed_lines(body)
    if not body.endswith(b"\r\n\r\n"):
        return b"" if body == b"\r\n" else body
    end = _content_end(body)
    return body[:end] + b"\r\n" if end else b""


def _relaxed_lines(lines: bytes) -> bytes:
    """White space of whole lines made less (RFC 6376 3.4.4)."""
    if b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    if b"  " in lines:
        lines = lines.replace(b"        ", b" ")  # a first large step for indented HTML; the loop finishes
        while b"  " in lines:
            lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", b"\r\n")


def _content_end(lines: bytes) -> int:
    """Where the line ends begin that stand last; 0 where there is nothing else."""
    end = len(lines)
    while lines.endswith(_BLANK_LINES, 0, end):
        end -= len(_BLANK_LINES)
    while lines.endswith(b"\r\n", 0, end):
        end -= 2
    return end


def _covered(head: bytes, omit: frozenset[bytes]) -> tuple[tuple[bytes, ...], bytes]:
    """The names for h= and the fields they stand for in relaxed form (RFC 6376 3.4.2), in that order.

    A name met again stands for the next field upwards (RFC 6376 5.4.2).
    """
    if b"\r\n " in head or b"\r\n\t" in head:
        head = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    found: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower().rstrip(b" \t")
        if name in _KNOWN:
            found.setdefault(name, []).append(value)
    names: list[bytes] = []
    fields: list[bytes] = []
    for name in _KNOWN:
        if name in omit:
            continue
        for value in reversed(found.get(name, ())):
            names.append(name)
            fields.append(b"%b:%b\r\n" % (name, _relaxed_value(value)))
        if name in OVERSIGNED:
            names.append(name)
    return tuple(names), b"".join(fields)


_KNOWN: dict[bytes, None] = dict.fromkeys(OVERSIGNED + SIGNED)


def _relaxed_value(value: bytes) -> bytes:
    if b"\t" in value:
        value = value.replace(b"\t", b" ")
    while b"  " in value:
        value = value.replace(b"  ", b" ")
    return value.strip(b" ")


@lru_cache(maxsize=256)
def _folded_names(names: tuple[bytes, ...]) -> bytes:
    """The value of h=, folded after a colon so that no line passes 78 octets (RFC 6376 3.5 allows it there)."""
    lines, line = [], b""
    for name in names:
        if len(line) + len(name) > 70:
            lines.append(line)
            line = b""
        line += name + b":"
    lines.append(line)
    return b"\r\n ".join(lines)[:-1]
