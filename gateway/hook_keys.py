"""An address for a provider: how its id is made and found, and how what proves the provider is sealed.

The id in the URL is 128 random bits; the database has its digest, to find it by, and the id itself only wrapped under
the installation key, to show it to staff. A stolen database names no address and proves nobody.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gateway.hooks import postmark
from gateway.hooks.told import Provider
from gateway.store.hooked import Hook
from suppression.vault import NONCE_BYTES, KeyRing, Unreadable

PATH: Final = "/api/v1/hooks"
_ID_BYTES: Final = 16
_FORM: Final = re.compile(r"[A-Za-z0-9_-]{22}")


def name_of(opaque: str) -> bytes | None:
    """What a hook is found by; None for what cannot be an id."""
    return hashlib.sha256(f"consentgate hook id\0{opaque}".encode()).digest() if _FORM.fullmatch(opaque) else None


def make(
    ring: KeyRing, controller_id: str, provider: Provider, credentials: Mapping[str, Any], *, now: datetime
) -> tuple[Hook, str]:
    """A new hook, and the id in its URL."""
    opaque = base64.urlsafe_b64encode(secrets.token_bytes(_ID_BYTES)).rstrip(b"=").decode("ascii")
    hook_id, name = secrets.token_bytes(8), name_of(opaque)
    assert name is not None
    said = json.dumps({"id": opaque, **credentials}).encode()
    sealed = ring.wrap(said, _row(controller_id, hook_id), secrets.token_bytes(NONCE_BYTES))
    hook = Hook(
        controller_id=controller_id, hook_id=hook_id, provider=provider, name=name, sealed=sealed, created_at=now
    )
    return hook, opaque


def opened(ring: KeyRing, hook: Hook) -> Mapping[str, Any] | None:
    """The id and the credentials of a hook; None where no live key opens them."""
    try:
        said: dict[str, Any] = json.loads(ring.unwrap(hook.sealed, _row(hook.controller_id, hook.hook_id)))
    except Unreadable:
        return None
    return said


def login() -> tuple[str, str, dict[str, str]]:
    """User and password for a provider that signs nothing, and what is kept of them."""
    username, password = "consentgate", secrets.token_urlsafe(32)
    return username, password, {"digest": postmark.digest_of(username, password)}


def url(public_url: str, provider: str, opaque: str) -> str:
    """The address that the provider is given."""
    return f"{public_url.rstrip('/')}{PATH}/{provider}/{opaque}"


def _row(controller_id: str, hook_id: bytes) -> bytes:
    return b"hook/" + controller_id.encode() + b"/" + hook_id
