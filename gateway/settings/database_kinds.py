"""Kinds of setting values that say where a database is: a file of SQLite, or a PostgreSQL server.

The URL of a server may hold a password, so that nothing here repeats one in a message.
"""

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from gateway.config import Database
from gateway.settings.kinds import TEXT, Bad, Kind, is_loopback

EXAMPLE: Final = "postgresql://user@host:5432/database"
SCHEMES: Final = ("postgresql", "postgres")
FILES: Final = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Parameters that name a file; a relative path counts from the settings."""
OWN_BUSINESS: Final = {
    "target_session_attrs": "the primary is looked for among all hosts as it is",
    "synchronous_commit": "what was answered 250 has to be on disk; set it on the server, to on or stronger",
    "dbname": "the database stands behind the last slash", "database": "the database stands behind the last slash",
    "user": "the user stands before the @", "password": "it belongs before the @, in a file or in the environment",
    "service": "hosts and database have to stand here", "port": "the port stands behind each host",
}  # fmt: skip
"""Parameters that are not for the settings to say, and why."""
TLS: Final = ("require", "verify-ca", "verify-full")


def _database(value: Any, directory: Path) -> Database:
    text: str = TEXT.parse(value, directory)
    scheme, _, rest = text.partition(":")
    if scheme in SCHEMES:
        return _server(text, directory)
    if scheme != "sqlite" or not rest.lstrip("/"):
        raise Bad(f"{scheme!r} is not a known kind of database", f'Write it as "sqlite:consentgate.db" or "{EXAMPLE}"')
    return Database.of_file(directory / rest)


def _keys(value: Any, directory: Path) -> Database:
    """As above; a name without a scheme is a file's."""
    text: str = TEXT.parse(value, directory)
    scheme, colon, _ = text.partition(":")
    if colon and scheme in (*SCHEMES, "sqlite"):
        return _database(value, directory)
    if not text or "://" in text:
        raise Bad("is no file and no database", f'Name a file, as "keys.db", or write "{EXAMPLE}"')
    return Database.of_file(directory / text)


def _server(text: str, directory: Path) -> Database:
    """The URL of a server, or of several of which one is the primary, checked and with its files' paths made whole."""
    try:
        parts = urlsplit(text)
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise Bad("is not a URL of a database", f'Write it as "{EXAMPLE}"') from None
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name or parts.fragment:
        raise Bad("names no database", f'Write it as "{EXAMPLE}"')
    for parameter, why in OWN_BUSINESS.items():
        if parameter in given:
            raise Bad(f"holds {parameter}", f"Leave it out: {why}")
    login, _, netloc = parts.netloc.rpartition("@")
    if "@" in login:
        raise Bad("holds more than one @", "Write an @ of the password as %40, or give it in a file (password_file)")
    hosts = _hosts(given.get("host") or netloc)
    if (mode := given.get("sslmode")) not in TLS:
        if mode is not None and mode not in ("disable", "allow", "prefer"):
            raise Bad("has an unknown sslmode", f"Use one of: {', '.join(TLS)}")
        if far := [host for host in hosts if not host.startswith("/") and not is_loopback(host.rpartition(":")[0])]:
            raise Bad(
                f"would speak to {far[0]} without TLS", "Add ?sslmode=verify-full (or require) behind the database"
            )
    for parameter in FILES:
        if given.get(parameter):
            given[parameter] = str(directory / given[parameter])
    query = f"?{urlencode(given, safe='/,:[]')}" if given else ""
    return Database(
        url=f"postgresql://{parts.netloc}/{parts.path.removeprefix('/')}{query}",
        name=f"postgresql://{','.join(hosts)}/{name}",
    )  # fmt: skip


def _hosts(text: str) -> list[str]:
    """HOST:PORT of every host, or the folder of a socket."""
    hosts = []
    for one in map(unquote, text.split(",")):
        if one.startswith("/"):
            hosts.append(one)
            continue
        host, bracket, port = one.rpartition("]")
        if bracket:
            host, port = host + bracket, port.removeprefix(":")
        else:
            host, _, port = one.partition(":")
        if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
            raise Bad("has no host, or a port that is none", f'Write it as "{EXAMPLE}"; several hosts with commas')
        hosts.append(f"{host.strip('[]')}:{port or 5432}")
    return hosts


DATABASE: Final = Kind("database", _database, None, True)
KEYS: Final = Kind("file or database", _keys, None, True)
