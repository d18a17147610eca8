"""What signed hooks have in common: how a provider shows its public key, and how old a request may be."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.hooks.told import Unproven

AHEAD: Final = timedelta(minutes=15)
"""How far the provider's clock may be ahead of ours."""


def der_key(text: str) -> PublicKeyTypes:
    """A public key in DER in base64, however that is broken into lines. ValueError where it is none."""
    try:
        return load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, UnsupportedAlgorithm) as wrong:
        raise ValueError("no public key") from wrong


def check_age(made: datetime | None, now: datetime, window: timedelta) -> None:
    """Raise Unproven unless a request was signed within the window, and in no time to come. None: nobody can say."""
    if made is None or not -AHEAD <= now - made <= window:
        raise Unproven("stale")
