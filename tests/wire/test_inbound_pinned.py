"""What gateway/inbound/connection.py relies on in aiosmtpd and asyncio that is not promised by them.

When this fails after an upgrade, read connection.py against the new version before changing a number here.
"""

from __future__ import annotations

import asyncio
import inspect

import aiosmtpd
import pytest
from aiosmtpd.smtp import SMTP
from front_door import Story, connect, make_config, submission

from gateway.inbound.connection import Connection

SET_BY_AIOSMTPD_ALONE = {
    "__ident__", "_auth_callback", "_auth_methods", "_auth_require_tls", "_auth_required", "_authenticator",
    "_decode_data", "_ehlo_hook_ver", "_enforce_call_limit", "_handle_hooks", "_proxy_timeout", "_smtp_methods",
    "_timeout_duration", "_tls_handshake_okay", "_tls_protocol", "data_size_limit",
    "enable_SMTPUTF8", "envelope", "event_handler", "hostname", "require_starttls", "tls_context",
}  # fmt: skip


def test_the_version_that_was_read() -> None:
    assert aiosmtpd.__version__ == "1.4.6"


def test_aiosmtpd_attributes() -> None:
    source = inspect.getsource(SMTP)
    for name in (
        "self._handler_coroutine = self.loop.create_task(\n                self._handle_client())",
        "self._reader = reader",
        "self._writer = writer",
        "self._reset_timeout()",
        "self._timeout_handle",
        "self._set_post_data_state()",
        "self.transport = transport",
        "seen_starttls = (self._original_transport is not None)",
    ):
        assert name in source, name
    for name in (
        "connection_made", "connection_lost", "eof_received", "_reset_timeout", "_timeout_cb", "_handle_client",
        "_set_post_data_state",
    ):  # fmt: skip
        assert callable(getattr(SMTP, name)), name
        assert getattr(Connection, name) is not getattr(SMTP, name), f"{name} is replaced"
    assert issubclass(SMTP, asyncio.StreamReaderProtocol)


async def test_stream_attributes() -> None:
    async with submission(make_config(), Story()) as (door, _):
        client = await connect(door)
        await client.reply()
        talk = next(iter(door.conversations))
        assert isinstance(talk, Connection)
        assert isinstance(talk._reader._buffer, bytearray)  # type: ignore[attr-defined]
        made = SMTP(object(), loop=asyncio.get_running_loop(), hostname="mail.example")
        unset = {name for name in vars(made) if name not in vars(talk)}
        assert unset == SET_BY_AIOSMTPD_ALONE, "its __init__ is not called"
        assert talk._reader._transport is talk.transport  # type: ignore[attr-defined]
        assert talk._writer._transport is talk.transport  # type: ignore[attr-defined]
        assert talk._transport is talk.transport  # type: ignore[attr-defined]
        assert talk._over_ssl is False  # type: ignore[attr-defined]
        await client.close()


async def test_a_put_back_octet_is_read_next() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"one\r\ntwo\r\n")
    assert await reader.readuntil(b"\n") == b"one\r\n"
    reader._buffer[:0] = b"zero\r\n"  # type: ignore[attr-defined]
    assert await reader.readuntil(b"\n") == b"zero\r\n"
    assert await reader.read(100) == b"two\r\n"
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await reader.readuntil(b"\n")
