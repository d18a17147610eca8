"""Reads a seed mailbox over IMAP (RFC 3501), for the loop check: nothing in it is changed, not even marked as seen."""

import imaplib
import re
import ssl

from gateway.config import Seed

IMAP_SECONDS = 15.0
"""How long one answer may take."""


class MailboxError(Exception):
    """The mailbox cannot be read; the text is for the operator and holds no password."""


def find(seed: Seed, mark: str, context: ssl.SSLContext | None = None) -> bytes | None:
    """The message whose subject holds `mark` (letters and digits), from the first folder with one; None: not yet.

    Blocks for as long as the server takes: call it in a thread. `context`: trust other than the system's.
    """
    assert seed.imap is not None and re.fullmatch(r"[A-Za-z0-9]+", mark)
    try:
        with _connected(seed, context) as server:
            server.login(seed.username, seed.password)
            for folder in seed.folders:
                said, _ = server.select(_quoted(folder), readonly=True)
                if said != "OK":
                    raise MailboxError(f"there is no folder {folder!r}")
                said, found = server.search(None, "SUBJECT", f'"{mark}"')
                numbers = found[0].split() if said == "OK" and found and found[0] else []
                if numbers:
                    return _fetched(server, numbers[-1].decode())
    except imaplib.IMAP4.error as refused:
        raise MailboxError(f"the server refused: {_plain(refused, seed)}") from None
    except (OSError, ssl.SSLError) as failed:
        raise MailboxError(f"no connection to {seed.imap[0]}:{seed.imap[1]}: {failed}") from None
    return None


def _connected(seed: Seed, context: ssl.SSLContext | None) -> imaplib.IMAP4:
    assert seed.imap is not None
    host, port = seed.imap
    if seed.tls == "none":
        return imaplib.IMAP4(host, port, timeout=IMAP_SECONDS)
    return imaplib.IMAP4_SSL(host, port, ssl_context=context or ssl.create_default_context(), timeout=IMAP_SECONDS)


def _fetched(server: imaplib.IMAP4, number: str) -> bytes | None:
    _, rows = server.fetch(number, "(BODY.PEEK[])")
    return next((bytes(row[1]) for row in rows if isinstance(row, tuple)), None)


def _quoted(folder: str) -> str:
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(error: Exception, seed: Seed) -> str:
    text = str(error.args[0] if error.args else error)
    return text.replace(seed.password, "***")[:200] if seed.password else text[:200]
