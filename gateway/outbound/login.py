"""Logging in at a host: a password by PLAIN or LOGIN, or an OAuth 2 access token by XOAUTH2 or OAUTHBEARER.

A token lives for an hour or so: the file it stands in is kept fresh by another program and read at each login. Nothing
is ever said over an unencrypted line that leaves this machine, and what a server repeats of a secret goes no further.

Sources: RFC 4954 (AUTH), RFC 4616 (PLAIN), RFC 7628 (OAUTHBEARER); XOAUTH2 and LOGIN as their
providers write them.
CRAM-MD5 and its like are left out: over TLS they protect nothing, and ask the server to keep the password readable.
"""

from base64 import b64encode
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.mail.answer import Answer
from gateway.mail.outcome import Outcome, judge, judge_failure
from gateway.outbound.link import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A login at a host; not shown by repr. With a `token_file` its first line is an access token, else `password`."""

    username: str
    password: str = ""
    token_file: Path | None = None

    def __repr__(self) -> str:
        return "Credentials()"


async def log_in(
    link: Link, credentials: Credentials, offered: frozenset[str], seconds: float, *, host: str, port: int
) -> Outcome | None:  # fmt: skip
    """Log in; None when that went well. What is refused concerns us, not the mail: the copy waits.

    `offered`: mechanisms, in upper case. `seconds` for each answer. LinkFailed as `Link.answer` raises it.
    """
    if not (link.encrypted or link.on_loopback):
        return judge_failure("auth", "no_auth", "the line is not encrypted")
    secret = credentials.password
    if credentials.token_file is not None:
        try:
            secret = credentials.token_file.read_text(encoding="ascii").strip().partition("\n")[0]
        except (OSError, UnicodeError):
            return judge_failure("auth", "no_auth", "the token file cannot be read")
        steps = _by_token(credentials.username, secret, offered, host, port)
    else:
        steps = _by_password(credentials.username, secret, offered)
    if not steps:
        wanted = "neither PLAIN nor LOGIN" if credentials.token_file is None else "neither XOAUTH2 nor OAUTHBEARER"
        return judge_failure("auth", "no_auth", f"{wanted} is offered")
    for step in steps[:-1]:
        link.write(step + b"\r\n")
        answer = await link.answer(seconds)
        if answer.code != 334:
            return _refused(answer, secret, steps)
    link.write(steps[-1] + b"\r\n")
    answer = await link.answer(seconds)
    if answer.code == 334:  # why a token is refused (RFC 7628 3.2.3); the reply itself follows our empty answer
        link.write(b"\r\n")
        answer = await link.answer(seconds)
    return None if 200 <= answer.code <= 299 else _refused(answer, secret, steps)


def _by_password(username: str, password: str, offered: frozenset[str]) -> list[bytes]:
    user, secret = username.encode(), password.encode()
    if "PLAIN" in offered:
        return [b"AUTH PLAIN " + b64encode(b"\0" + user + b"\0" + secret)]
    if "LOGIN" in offered:
        return [b"AUTH LOGIN", b64encode(user), b64encode(secret)]
    return []


def _by_token(username: str, token: str, offered: frozenset[str], host: str, port: int) -> list[bytes]:
    if "XOAUTH2" in offered:
        said = f"user={username}\x01auth=Bearer {token}\x01\x01"
        return [b"AUTH XOAUTH2 " + b64encode(said.encode())]
    if "OAUTHBEARER" in offered:
        name = username.replace("=", "=3D").replace(",", "=2C")
        said = f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
        return [b"AUTH OAUTHBEARER " + b64encode(said.encode())]
    return []


def _refused(answer: Answer, secret: str, steps: list[bytes]) -> Outcome:
    """What a refusal means, without whatever of the secret the server repeats."""
    outcome = judge("auth", answer)
    text = outcome.text
    for word in (secret, *(step.rpartition(b" ")[2].decode() for step in steps)):
        text = text.replace(word, "[secret]") if word else text
    return replace(outcome, text=text)
