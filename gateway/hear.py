"""What comes back to the return path: for now opt-outs by mail (RULES.md 5.2.8).

The token is looked for in the Subject, then in the text. A mail to `unsub@` without one is still a wish to stop: it
counts as an objection of the address it came from, at the controller it was sent to.
"""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime

from gateway import log, record
from gateway.config import Config
from gateway.mail import reply
from gateway.mail.envelope import Envelope
from gateway.mail.headers import Unparsable, decode_words
from gateway.mail.mime import parse
from gateway.mail.reply import Reply
from gateway.store.contract import Store, StoreUnavailable
from suppression.address import canonical
from suppression.link_token import LENGTH, LinkToken, TokenKeys
from suppression.vault import KeyRing

_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{{{LENGTH}}}(?![A-Za-z0-9_-])")
# Begins where a word does: else a long word without an @ would be read again from each of its characters.
_ADDRESS = re.compile(r"(?<![^\s<>(),;:\"])[^\s<>(),;:\"@]++@[^\s<>(),;:\"]+")
TEXT_BYTES = 64 * 1024
"""How far into the text a token is looked for."""
TOKENS = 20
LARGE = 256 * 1024
"""From this size on a message is taken apart in a thread, not on the loop (bytes)."""


class Hear:
    """Takes mail that comes back. `configure` swaps the configuration between messages."""

    def __init__(self, store: Store, *, ring: KeyRing, tokens: TokenKeys, clock: Callable[[], datetime]) -> None:
        self._store, self._ring, self._tokens, self._clock = store, ring, tokens, clock

    def configure(self, config: Config) -> None:
        self._config = config

    async def __call__(self, envelope: Envelope) -> Reply:
        """Opt out whom the mail names; 451 while that cannot be written down."""
        try:
            if len(envelope.content) < LARGE:
                message = parse(envelope.content)
            else:  # anybody may send one
                message = await asyncio.to_thread(parse, envelope.content)
        except Unparsable:
            return reply.MESSAGE_FAULT
        subject = decode_words(message.get(b"subject") or b"")
        text = envelope.content[message.body_start : message.body_start + TEXT_BYTES].replace(b"=\r\n", b"")
        token = self._token(subject) or self._token(text.decode("ascii", "replace"))
        try:
            done = await record.opt_out(self._store, token, channel="mail", now=self._clock()) if token else None
            if done is None:
                done = await self._sender(envelope, decode_words(message.get(b"from") or b""))
        except StoreUnavailable as down:
            log.store_unavailable(where="return path", error=down)
            return reply.STORE_DOWN
        if done is None:
            log.report_received(kind="other", undeliverable=0)
            return reply.OK_RETURNED.with_text(reply.OK_RETURNED.text + " unread")
        return reply.OK_RETURNED.with_text(f"{reply.OK_RETURNED.text} {done.reference}")

    def _token(self, text: str) -> LinkToken | None:
        for n, found in enumerate(_TOKEN.finditer(text)):
            token = self._tokens.open("unsubscribe", found[0])
            if token is not None or n >= TOKENS:
                return token
        return None

    async def _sender(self, envelope: Envelope, author: str) -> record.OptOut | None:
        """A person without a token: whoever wrote the mail, at the controller of the domain it was sent to."""
        found = _ADDRESS.search(author) or _ADDRESS.search(envelope.mail_from)
        address = canonical(found[0]) if found else None
        domains = {rcpt.address.rpartition("@")[2].lower() for rcpt in envelope.rcpts}
        controllers = [c for c in self._config.controllers.values() if c.return_domain and c.return_domain in domains]
        done = None
        for controller in controllers if address is not None and envelope.mail_from else ():
            key = await record.key_on_file(self._store, self._ring, controller.id, address or "")
            done = await record.suppress(
                self._store, controller.id, key, purpose=None, reason="objection", source="mail", now=self._clock(),
                address=address,
            )  # fmt: skip
        return done
