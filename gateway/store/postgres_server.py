"""What a PostgreSQL server says of itself, and why one cannot be used: for `init`, `doctor` and `migrate`.

Asks with one connection of its own and changes nothing. No text here holds a password: the driver's own never do.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from gateway.store.contract import StoreUnavailable

CONNECT_SECONDS: Final = 10.0
OLDEST: Final = 16
"""The oldest version that the tests run on."""

_FACTS: Final = """
SELECT current_setting('server_version') AS version,
  current_setting('server_version_num')::int / 10000 AS number,
  current_database() AS database,
  pg_encoding_to_char(encoding) AS encoding,
  NOT pg_is_in_recovery() AS is_primary,
  current_setting('synchronous_commit') AS synchronous_commit,
  current_setting('synchronous_standby_names') AS synchronous_standbys,
  current_setting('fsync') = 'on' AS fsync,
  current_setting('archive_mode') <> 'off' AS archives,
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int AS allowed,
  (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS connected,
  has_schema_privilege(current_schema(), 'CREATE') AS may_create,
  (SELECT count(*)::int FROM pg_class WHERE relnamespace = current_schema()::regnamespace) AS relations
FROM pg_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A server, and one database on it, as the user of the URL sees them.

    `synchronous_standbys`: the setting's text, "" where no standby is waited for. `archives`: whether WAL is kept, and
    with it what was deleted. `allowed`, `connected`: connections of clients. `relations`: what the schema holds.
    """

    version: str
    number: int
    database: str
    encoding: str
    is_primary: bool
    synchronous_commit: str
    synchronous_standbys: str
    fsync: bool
    archives: bool
    allowed: int
    connected: int
    may_create: bool
    relations: int


async def facts_of(url: str) -> ServerFacts:
    """Ask the server behind a URL; of several hosts the primary. StoreUnavailable says why not, and what to do."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS * 2):
            connection = await _connected(url)
            try:
                row = await connection.fetchrow(_FACTS)
            finally:
                await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as failed:
        raise StoreUnavailable(why(failed)) from None
    assert row is not None
    return ServerFacts(**dict(row))


async def _connected(url: str) -> "asyncpg.Connection[Any]":
    """With the primary, or where there is none with any of the hosts: that it is a standby is worth knowing."""
    try:
        return await asyncpg.connect(url, target_session_attrs=SessionAttribute.primary, timeout=CONNECT_SECONDS)
    except asyncpg.TargetServerAttributeNotMatched:
        return await asyncpg.connect(url, target_session_attrs=SessionAttribute.any, timeout=CONNECT_SECONDS)


_WHY: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncpg.InvalidCatalogNameError, "there is no such database on the server: make it (createdb), empty"),
    (asyncpg.InvalidPasswordError, "the server refuses the password: correct database.password, or PGPASSWORD"),
    (asyncpg.InvalidAuthorizationSpecificationError, "the server lets this user not in: see its pg_hba.conf"),
    (asyncpg.InsufficientPrivilegeError, "this user has no right to it: GRANT CONNECT, CREATE, or make it the owner"),
    (asyncpg.TargetServerAttributeNotMatched, "none of the hosts is the primary: promote one, or name it"),
    (asyncpg.TooManyConnectionsError, "the server has no connection left: raise max_connections"),
    (asyncpg.CannotConnectNowError, "the server is starting or stopping: try again"),
    (TimeoutError, "the server does not answer: see that it runs and that nothing stands between"),
    (ssl.SSLError, "TLS with the server fails: see sslmode and sslrootcert"),
    (asyncpg.ClientConfigurationError, "the URL cannot be used"),
    (OSError, "no server answers there: see that it runs, and the host and port of the URL"),
)  # fmt: skip


def why(failed: BaseException) -> str:
    """Why a server could not be used, with a remedy, and what it said itself."""
    said = " ".join(str(failed).split())
    if "SSL upgrade" in said:
        return f"the server speaks no TLS: switch ssl on there, or leave sslmode out on loopback ({said})"
    for kind, text in _WHY:
        if isinstance(failed, kind):
            return f"{text} ({said})" if said else text
    return said or type(failed).__name__


def unfit(facts: ServerFacts, *, new: bool) -> str | None:
    """What keeps a database from being used, with the remedy; None where nothing does. `new`: it is to be filled."""
    if not facts.is_primary:
        return f"{facts.database} is on a standby, which takes no writes: name the primary, or all hosts"
    if facts.encoding != "UTF8":
        return f"{facts.database} has the encoding {facts.encoding}: make it anew with ENCODING 'UTF8'"
    if new and facts.relations:
        return f"{facts.database} is not empty: give an empty one, or another schema (search_path)"
    if new and not facts.may_create:
        return f"this user may not create tables in {facts.database}: make it the owner of the database"
    return None


async def check_new(url: str, name: str) -> None:
    """StoreUnavailable where a database cannot be filled, with what to do; `name`: what it is called to people."""
    try:
        odd = unfit(await facts_of(url), new=True)
    except StoreUnavailable as failed:
        odd = str(failed)
    if odd is not None:
        raise StoreUnavailable(f"{name}: {odd}")


def doubts(facts: ServerFacts, *, needed: int, keys: bool) -> list[str]:
    """What works and is not as it should be, each with its remedy. `needed`: connections of this node; `keys`: it holds
    the keys."""
    found = []
    if facts.number < OLDEST:
        found.append(f"version {facts.version} was not tried: use {OLDEST} or newer")
    if not facts.fsync:
        found.append("fsync is off: a crash of the machine loses mail that was accepted; set it on")
    if facts.synchronous_commit in ("off", "local") and (
        facts.synchronous_commit == "off" or facts.synchronous_standbys
    ):
        found.append(f"synchronous_commit is {facts.synchronous_commit}: set it to on or stronger")
    if keys and facts.archives:
        found.append("WAL is archived, which keeps keys that were destroyed: use a server without (docs/scaling.md)")
    if facts.allowed < needed:
        found.append(f"it allows {facts.allowed} connections, and this node needs {needed}: raise max_connections")
    return found
