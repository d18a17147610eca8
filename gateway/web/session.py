"""Staff sessions: a signed cookie that says who signed in and when; the account itself is looked up on each request.

The cookie holds a name and times, no rights: roles come from the store, so that a change or removal counts at once. A
new password ends all sessions made under the old one; signing out ends all of that person's, in every process.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.clock_watch import CLOCKS_APART
from gateway.store.staff import Staff

LASTS: Final = timedelta(hours=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody signed in. `nonce` names this session; `language` is what they chose, empty for the browser's."""

    name: str
    began: datetime
    nonce: str
    language: str
    password: str


class Sessions:
    """Makes and reads the cookie. `secure` is false only where the public URL is plain http, which is loopback."""

    def __init__(self, key: bytes, *, secure: bool) -> None:
        self._key, self._secure = key, secure
        # "__Host-": the browser then takes it only over https, for this host and the whole of it (RFC 6265bis 4.1.3.2)
        self._cookie = "__Host-consentgate" if secure else "consentgate"

    def begin(self, response: Response, staff: Staff, language: str, now: datetime) -> None:
        """Sign somebody in on this response."""
        session = Session(
            name=staff.name, began=now, nonce=secrets.token_hex(16), language=language,
            password=self._fingerprint(staff.password_hash),
        )  # fmt: skip
        self._set(response, session)

    def speak(self, response: Response, session: Session, language: str) -> None:
        """The same session, in another language."""
        self._set(response, Session(
            name=session.name, began=session.began, nonce=session.nonce, language=language, password=session.password
        ))  # fmt: skip

    def end(self, response: Response) -> None:
        """Take the cookie away; `Store.sign_out` is what ends the session."""
        response.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="strict")

    def read(self, request: Request, now: datetime) -> Session | None:
        """Who the cookie says is there; None where it is missing, not ours, or over."""
        claim, _, mac = request.cookies.get(self._cookie, "").partition(".")
        if not claim or not hmac.compare_digest(self._mac("session", claim).encode(), mac.encode("utf-8", "replace")):
            return None
        try:
            fields = json.loads(base64.urlsafe_b64decode(claim))
        except (binascii.Error, ValueError):  # signed by an older version of ours
            return None
        session = Session(
            name=fields["n"], began=datetime.fromtimestamp(fields["b"] / 1000, UTC), nonce=fields["i"],
            language=fields["l"], password=fields["p"],
        )  # fmt: skip
        # one of a time to come was begun under a clock that was ahead: it would last longer than it may
        return session if -CLOCKS_APART <= now - session.began < LASTS else None

    def holds(self, session: Session, staff: Staff) -> bool:
        """Whether the session still counts: begun with today's password, and after the last sign-out."""
        if staff.signed_out_at is not None and session.began <= staff.signed_out_at:
            return False
        return hmac.compare_digest(session.password, self._fingerprint(staff.password_hash))

    def form_value(self, session: Session) -> str:
        """What every form of this session carries, so that no other site can send it."""
        return self._mac("form", session.nonce)

    def is_form_of(self, session: Session, value: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_value(session).encode(), value.encode("utf-8", "replace"))

    def _set(self, response: Response, session: Session) -> None:
        fields = {
            "n": session.name,
            "b": int(session.began.timestamp() * 1000),
            "i": session.nonce,
            "l": session.language,
        }
        claim = base64.urlsafe_b64encode(json.dumps(fields | {"p": session.password}).encode()).decode()
        response.set_cookie(
            self._cookie, f"{claim}.{self._mac('session', claim)}", max_age=int(LASTS.total_seconds()), path="/",
            secure=self._secure, httponly=True, samesite="strict",
        )  # fmt: skip

    def _mac(self, use: str, text: str) -> str:
        return hmac.digest(self._key, f"{use}\n{text}".encode("utf-8", "replace"), hashlib.sha256).hex()

    def _fingerprint(self, password_hash: str) -> str:
        return self._mac("password", password_hash)[:16]
