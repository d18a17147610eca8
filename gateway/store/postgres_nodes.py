"""The processes around one PostgreSQL: a connection of its own that listens, and holds this process's locks.

The locks are session advisory locks: the server gives them up with the connection, so that a node that died leaves its
name and the house to others at once, and one whose machine vanished after KEEPALIVE. When the server goes, the
connection is made anew with whichever host is the primary then.
"""

import asyncio
import contextlib
import zlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from gateway import log
from gateway.store.contract import StoreUnavailable
from gateway.store.nodes import CALLS, CHANNEL, Call, NameTaken
from gateway.store.postgres_server import why

HOUSE: Final = 0x4347, 0
NAMES: Final = 0x4348
"""Keys of two halves: those of transactions have one of 64 bits."""
KEEPALIVE: Final = {"tcp_keepalives_idle": "3", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
"""Nine seconds until the server knows that a machine is gone: the ledger must have somebody who seals within ten."""
CONNECT_SECONDS: Final = 10.0
ASK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.5
NAME_SECONDS: Final = 15.0
"""How long a name that is taken is waited for: the process that died may still seem to be there."""


class PostgresNodes:
    """See nodes.Nodes, call by call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection[Any] | None = None
        self._gone = asyncio.Event()
        self._turn = asyncio.Lock()
        self._worker = ""
        self._house = self._named = False
        self._lost_name: list[Callable[[], None]] = []
        self._name_taken: list[Callable[[], None]] = []
        self._then: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._keeping: asyncio.Task[None] | None = None

    async def join(self, worker: str) -> None:
        self._worker = worker
        await self._connect()
        for _ in range(int(NAME_SECONDS / AGAIN_SECONDS)):
            if await self._holds(*self._name):
                break
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            self._drop()
            raise NameTaken(worker)
        self._named = True
        self._keeping = asyncio.create_task(self._keep(), name="nodes")

    @property
    def named(self) -> bool:
        return self._named

    def on_name(self, *, lost: Callable[[], None], taken: Callable[[], None]) -> None:
        self._lost_name.append(lost)
        self._name_taken.append(taken)

    async def keeps_house(self) -> bool:
        if not self._house:
            try:
                self._house = await self._holds(*HOUSE)
            except StoreUnavailable:
                return False
        return self._house

    def on(self, call: Call, then: Callable[[], None]) -> None:
        self._then[call].append(then)

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        self._drop()

    # the connection

    async def _connect(self) -> None:
        settings = {**KEEPALIVE, "application_name": f"consentgate {self._worker}"}
        connection: asyncpg.Connection[Any] | None = None
        try:
            connection = await asyncpg.connect(
                self._url, target_session_attrs=SessionAttribute.primary, timeout=CONNECT_SECONDS,
                command_timeout=ASK_SECONDS, server_settings=settings,
            )  # fmt: skip
            connection.add_termination_listener(self._lost)
            await connection.add_listener(CHANNEL, self._heard)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failed:
            if connection is not None:
                connection.terminate()  # else one more would stay open each time it is tried
            raise StoreUnavailable(why(failed)) from None
        self._gone.clear()
        self._connection = connection

    async def _keep(self) -> None:
        """Until cancelled: see that the server still answers; when it does not, find it again and take up our name.

        For a while it may seem taken by ourselves, under the connection that we lost.
        """
        refused = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS if self._named else AGAIN_SECONDS):
                    await self._gone.wait()
            try:
                if self._connection is None:
                    await self._connect()
                if self._named:
                    await self._ask("SELECT 1")
                elif await self._holds(*self._name):
                    self._named, refused = True, 0
                    for call in CALLS:  # what was called meanwhile
                        self._ring(call)
                else:
                    refused += 1
                    if refused == int(NAME_SECONDS / AGAIN_SECONDS):
                        log.name_taken(worker=self._worker)
                        for then in self._name_taken:
                            then()
            except StoreUnavailable as down:
                log.store_unavailable(where="nodes", error=down)
                self._drop()
                await asyncio.sleep(AGAIN_SECONDS)

    @property
    def _name(self) -> tuple[int, int]:
        return NAMES, zlib.crc32(self._worker.encode()) - 2**31

    async def _holds(self, first: int, second: int) -> bool:
        return bool(await self._ask("SELECT pg_try_advisory_lock($1, $2)", first, second))

    async def _ask(self, sql: str, *args: object) -> Any:
        async with self._turn:  # one connection answers one question at a time
            if self._connection is None:
                raise StoreUnavailable("the server is away")
            try:
                return await self._connection.fetchval(sql, *args)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failed:
                raise StoreUnavailable(why(failed)) from None

    def _lost(self, connection: object) -> None:
        if connection is self._connection:
            self._let_go()
            self._gone.set()

    def _drop(self) -> None:
        connection = self._connection
        self._let_go()
        if connection is not None:
            connection.terminate()

    def _let_go(self) -> None:
        """The connection is gone, and the locks with it."""
        self._connection, self._house = None, False
        if self._named:
            self._named = False
            for then in self._lost_name:
                then()

    # calls

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload in CALLS:
            self._ring(str(payload))

    def _ring(self, call: str) -> None:
        for then in self._then[call]:
            then()
