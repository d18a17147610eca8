"""Making a new input out of others: what goes wrong with octets, lines and parts."""

import random

TOKENS = (
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b"--", b"--b1\r\n", b"--b1--\r\n", b"=", b"=\r\n",
    b"=3D", b"=00", b"==", b"\xff", b"\xc3", b"\x1b$B", b"\x1b(B", b"~{", b"+AGE-", b"\xef\xbb\xbf", b"\xff\xfe",
    b"<", b">", b"<!--", b"-->", b"</body>", b"</html>", b"<body>", b"<script>", b"<style>", b"<plaintext>",
    b"<svg>", b"<![CDATA[", b"<frameset>", b"<div style='display:none'>", b"<a href=", b'"', b"'", b"(", b")", b";",
    b":", b"{{unsubscribe_url}}", b"%%", b"\r\n-- \r\n", b"Content-Type: multipart/mixed; boundary=b1\r\n",
    b"Content-Type: text/html; charset=utf-16\r\n", b"; charset=utf-7", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"; format=flowed; delsp=yes",
    b"Content-Disposition: attachment; filename*0*=utf-8''%e2\r\n", b"MIME-Version: 1.0\r\n", b"multipart/",
    b"message/rfc822", b"=?utf-8?B?", b"=?utf-8?Q?=C3?=", b"?=", b"To: a@b, c@d;\r\n", b"From: \r\n",
    b"Status: 5.1.1\r\n", b"unsubscribe", b"stop", b"-----BEGIN PGP MESSAGE-----", b"begin 644 x\r\n", b"A" * 80,
    b"x" * 1000, b"\r\n " * 50,
)  # fmt: skip
LARGEST = 200_000
"""Octets of an input, at most."""


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    """One of the pool with a few things done to it."""
    data = chance.choice(pool)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 9))):
        data = chance.choice(_WAYS)(chance, data, pool)
    data = data[:LARGEST]
    if chance.random() < 0.9:  # most are let past the first look, which refuses bare line ends
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n").replace(b"\0", b"")
    return data


def _span(chance: random.Random, data: bytes) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.choice((1, 2, 4, 16, 80, 400)))


def _flip(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ (1 << chance.randrange(8)),)) + data[at + 1 :]


def _cut(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _repeat(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:end] + data[start:end] * chance.choice((1, 2, 10, 300)) + data[end:]


def _put(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(TOKENS) * chance.choice((1, 1, 1, 2, 40)) + data[at:]


def _end(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _join(chance: random.Random, data: bytes, pool: list[bytes]) -> bytes:
    other = chance.choice(pool)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _swap_lines(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines)


def _line_again(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    lines.insert(chance.randrange(len(lines)), chance.choice(lines))
    return b"\r\n".join(lines)


def _other_case(chance: random.Random, data: bytes, _pool: list[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[start:end].swapcase() + data[end:]


_WAYS = (_flip, _cut, _repeat, _put, _put, _put, _end, _join, _swap_lines, _line_again, _other_case)
