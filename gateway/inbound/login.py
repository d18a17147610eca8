"""Who is handing in mail: passwords, address lists, and what happens after wrong ones (RFC 4954).

Purpose: say which login a name and password, or a peer address, stand for. Passwords are argon2 hashes; a verified
pair is remembered as an HMAC under a key of this process, so that a tool that logs in for each message costs one hash.
It never keeps or logs a password. An unknown name costs the same hash as a wrong password (its time tells nothing).
Failures: a Reply (454 while slowed down or unable to check, 535 for wrong). Nothing raises.
Known limit: back-off and cache are per process.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import argon2

from gateway import log
from gateway.backoff import Backoff
from gateway.config import Login
from gateway.mail import reply
from gateway.mail.reply import Reply

CACHED_LOGINS = 1_000
WAITING_CHECKS = 64
CHECK_SECONDS = 20.0
_TABLE_KEY = secrets.token_bytes(16)  # table keys have one short length whatever name a stranger sends


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """A login in use. `suffix`: what stood behind the last `+` of the name, None without one or by peer address."""

    login: Login
    suffix: str | None


class Logins:
    """The logins of a configuration. `clock` gives aware UTC.

    Pauses are kept per login name and peer address, and per peer address over all names, so that neither guessing one
    password nor trying one password on many names gets far, and a stranger cannot lock out the owner of a name.
    """

    def __init__(self, logins: Mapping[str, Login], *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._hasher = argon2.PasswordHasher()
        # One thread: a hash takes tens of megabytes, so more at once would unbound the memory (P11).
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="argon2")
        self._by_name_and_ip = Backoff(free=3)
        self._by_ip = Backoff(free=30)
        self.reload(logins)

    def reload(self, logins: Mapping[str, Login]) -> None:
        """Use other logins from now on. Remembered passwords are dropped; pauses stay."""
        self._logins = dict(logins)
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._checks: dict[bytes, asyncio.Future[bool | None]] = {}
        self._decoy = next((login.password_hash for login in logins.values() if login.password_hash), None)
        self._by_address = tuple(login for login in logins.values() if login.allowed_ips and not login.password_hash)

    def close(self) -> None:
        """Stop the hashing thread; checks not begun are dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def by_address(self, ip: str) -> LoggedIn | None:
        """The login that this peer address stands for without a password: the first one declared; None without one."""
        for login in self._by_address:
            if _is_in(ip, login):
                return LoggedIn(login=login, suffix=None)
        return None

    def current(self, logged_in: LoggedIn) -> LoggedIn | None:
        """The same login after a reload: None when it went or its password changed, so an open session ends too."""
        login = self._logins.get(logged_in.login.name)
        if login is logged_in.login:
            return logged_in
        if login is None or login.password_hash != logged_in.login.password_hash:
            return None
        return LoggedIn(login=login, suffix=logged_in.suffix)

    async def check(self, name: str, password: str, ip: str) -> LoggedIn | Reply:
        """Log in by name and password from a peer address."""
        answer = await self._check(name, password, ip)
        if isinstance(answer, Reply):
            login, _ = self._find(name)
            log.login_failed(door="smtp", cause=answer.text, login=login.name if login is not None else None)
        return answer

    async def _check(self, name: str, password: str, ip: str) -> LoggedIn | Reply:
        now = self._clock()
        login, suffix = self._find(name)
        # An unknown name is counted as a known one would be, or the pauses would tell which names exist.
        known = login.name if login is not None else name.rpartition("+")[0] or name
        key = hmac.digest(_TABLE_KEY, f"{ip} {known}".encode("utf-8", "replace"), "sha256").hex()
        if self._by_name_and_ip.wait(key, now) or self._by_ip.wait(ip, now):
            return reply.LOGIN_SLOWED
        password_hash = login.password_hash if login is not None else None
        right = await self._verify(password_hash, known, password)
        if right is None:
            return reply.LOGIN_DOWN
        if login is None or password_hash is None or not right:
            now = self._clock()
            self._by_name_and_ip.failed(key, now)
            self._by_ip.failed(ip, now)
            return reply.LOGIN_WRONG
        self._by_name_and_ip.passed(key)
        if login.allowed_ips and not _is_in(ip, login):
            return reply.LOGIN_ELSEWHERE
        return LoggedIn(login=login, suffix=suffix)

    def _find(self, name: str) -> tuple[Login | None, str | None]:
        """The exact name first, else what stands before its last `+` (DESIGN 5)."""
        if name in self._logins:
            return self._logins[name], None
        base, plus, suffix = name.rpartition("+")
        if plus and base in self._logins:
            return self._logins[base], suffix
        return None, None

    async def _verify(self, password_hash: str | None, name: str, password: str) -> bool | None:
        """Whether the password is right; None when it could not be checked now."""
        pair = hmac.digest(self._key, f"{len(name)} {name} {password}".encode("utf-8", "replace"), "sha256")
        if password_hash is not None and pair in self._verified:
            self._verified.move_to_end(pair)
            return True
        check = self._checks.get(pair)
        if check is None:
            if len(self._checks) >= WAITING_CHECKS:
                return None
            check = asyncio.ensure_future(self._hash(password_hash, pair, password))
            self._checks[pair] = check
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await asyncio.shield(check)  # connections that log in together share one check
        except TimeoutError:
            return None

    async def _hash(self, password_hash: str | None, pair: bytes, password: str) -> bool | None:
        verified, checks = self._verified, self._checks  # a reload in between must not remember this one
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._thread, self._matches, password_hash or self._decoy, password)
        except (argon2.exceptions.Argon2Error, argon2.exceptions.InvalidHashError, RuntimeError, MemoryError):
            return None  # no memory for the hash, a stored hash that is none, or the process is ending
        finally:
            checks.pop(pair, None)
        if right and password_hash is not None:
            verified[pair] = None
            while len(verified) > CACHED_LOGINS:
                verified.popitem(last=False)
        return right and password_hash is not None

    def _matches(self, password_hash: str | None, password: str) -> bool:
        if password_hash is None:
            return False  # no login has a password, so there is none to tell apart by time
        try:
            return self._hasher.verify(password_hash, password)
        except argon2.exceptions.VerifyMismatchError:
            return False


def _is_in(ip: str, login: Login) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in login.allowed_ips)
