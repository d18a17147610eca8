"""A signed message to a controller's own endpoint, or to another company's, as Standard Webhooks has it.

The id stays the same however often a message is tried, so that its receiver can tell a second one; timestamp and
signature are of the attempt. While a secret is exchanged for another, both sign.

Source: the Standard Webhooks specification (webhook-id, webhook-timestamp, webhook-signature; symmetric scheme v1).
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.tools.dialogue import JSON_TYPE, Answer, Dialogue, Request, Verdict, as_json, judge

PREFIX: Final = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as the specification has it."""


def secret_of(text: str) -> bytes:
    """The bytes of a secret as it is written, `whsec_` and base64. ValueError where it is none."""
    if not text.startswith(PREFIX):
        raise ValueError(f"does not begin with {PREFIX}")
    try:
        secret = b64decode(text.removeprefix(PREFIX), validate=True)
    except Error:
        raise ValueError(f"is not base64 after {PREFIX}") from None
    if not SHORTEST <= len(secret) <= LONGEST:
        raise ValueError(f"has {len(secret)} bytes, not {SHORTEST} to {LONGEST}")
    return secret


def signature(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The signatures of one attempt, the newest secret's first."""
    signed = f"{message_id}.{timestamp}.".encode("ascii") + body
    return " ".join(f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode('ascii')}" for secret in secrets)


def tell(
    url: str, secrets: Sequence[bytes], *, message_id: str, timestamp: int, content: Mapping[str, Any]
) -> Dialogue:
    """One POST. `timestamp`: seconds since 1970, of this attempt. 410 is the receiver's word that it wants no more."""
    body = as_json(content)
    answer: Answer = yield Request(
        method="POST", url=url, body=body,
        headers=(
            JSON_TYPE, ("webhook-id", message_id), ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", signature(secrets, message_id, timestamp, body)),
        ),
    )  # fmt: skip
    return judge(answer)


def probe(url: str) -> Dialogue:
    """Whether there is somebody, without telling anything: an unsigned empty GET, whatever is answered to it."""
    answer: Answer = yield Request(method="GET", url=url)
    return Verdict(outcome="done", note=f"answers {answer.status}")
