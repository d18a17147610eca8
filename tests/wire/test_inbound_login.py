"""gateway/inbound/login.py: passwords, address lists, pauses after wrong ones (RFC 4954)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import argon2
import pytest
from front_door import HASHES, NOW, OPEN_TO_LOOPBACK, greeted, make_config, make_login, submission

from gateway.backoff import Backoff
from gateway.inbound import login, sasl
from gateway.inbound.login import LoggedIn, Logins
from gateway.mail import reply
from gateway.mail.reply import Reply

IP = "192.0.2.7"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Any:
    made = Logins({name: make_login(name) for name in ("news", "plus+name")} | OPEN_TO_LOOPBACK, clock=clock)
    yield made
    made.close()


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    original = argon2.PasswordHasher.verify

    def verify(self: argon2.PasswordHasher, password_hash: str, password: str) -> bool:
        seen.append(password_hash)
        return original(self, password_hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    return seen


async def test_names_and_suffixes(logins: Logins) -> None:
    for name, password, found, suffix in [
        ("news", "correct horse", "news", None),
        ("news+events", "correct horse", "news", "events"),
        ("news+events.wine", "correct horse", "news", "events.wine"),
        ("plus+name", "battery staple", "plus+name", None),
        ("plus+name+x", "battery staple", "plus+name", "x"),
        ("news+", "correct horse", "news", ""),
    ]:
        got = await logins.check(name, password, IP)
        assert isinstance(got, LoggedIn), name
        assert (got.login.name, got.suffix) == (found, suffix)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("news", "wrong"),
        ("news", ""),
        ("News", "correct horse"),
        ("nobody", "correct horse"),
        ("nobody+news", "correct horse"),
        ("", "correct horse"),
        ("tool", ""),
        ("plus", "battery staple"),
        ("news\udcff", "correct horse"),
    ],
)
async def test_wrong(logins: Logins, name: str, password: str) -> None:
    assert await logins.check(name, password, IP) == reply.LOGIN_WRONG


async def test_a_verified_login_costs_one_hash_until_reload(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = count_hashes(monkeypatch)
    for _ in range(5):
        assert isinstance(await logins.check("news", "correct horse", IP), LoggedIn)
        assert isinstance(await logins.check("news+events", "correct horse", IP), LoggedIn)
    assert len(hashes) == 1
    assert await logins.check("news", "correct hors", IP) == reply.LOGIN_WRONG
    logins.reload({"news": make_login("news")})
    assert isinstance(await logins.check("news", "correct horse", IP), LoggedIn)
    assert len(hashes) == 3
    changed = replace(make_login("news"), password_hash=HASHES["caged"])
    logins.reload({"news": changed})
    assert await logins.check("news", "correct horse", IP) == reply.LOGIN_WRONG
    assert isinstance(await logins.check("news", "in a cage", IP), LoggedIn)


async def test_logins_at_the_same_time_share_one_hash(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = count_hashes(monkeypatch)
    got = await asyncio.gather(*(logins.check("news", "correct horse", IP) for _ in range(200)))
    assert all(isinstance(one, LoggedIn) for one in got)
    assert len(hashes) == 1


async def test_an_unknown_name_costs_a_hash_too(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = count_hashes(monkeypatch)
    await logins.check("nobody", "x", IP)
    await logins.check("tool", "x", IP)
    assert hashes == [HASHES["news"]] * 2
    assert await logins.check("nobody", "correct horse", IP) == reply.LOGIN_WRONG, "though the hash matches"


async def test_the_memory_of_verified_logins_is_bounded(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "CACHED_LOGINS", 1)
    for name, password in (("news", "correct horse"), ("plus+name", "battery staple")) * 2:
        assert isinstance(await logins.check(name, password, IP), LoggedIn)
        assert len(logins._verified) == 1
    assert b"correct horse" not in b"".join(logins._verified)


async def test_too_many_checks_at_once_are_put_off(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "WAITING_CHECKS", 2)
    got = await asyncio.gather(*(logins.check("news", f"guess {i}", IP) for i in range(10)))
    assert reply.LOGIN_DOWN in got and reply.LOGIN_WRONG in got


async def test_a_stored_hash_that_is_none(clock: Clock) -> None:
    logins = Logins({"news": replace(make_login("news"), password_hash="plain text")}, clock=clock)
    assert await logins.check("news", "plain text", IP) == reply.LOGIN_DOWN
    logins.close()


async def test_pauses_after_wrong_passwords(logins: Logins, clock: Clock) -> None:
    for _ in range(4):
        assert await logins.check("news", "wrong", IP) == reply.LOGIN_WRONG
    assert await logins.check("news", "correct horse", IP) == reply.LOGIN_SLOWED, "also for the right one"
    assert await logins.check("news+x", "correct horse", IP) == reply.LOGIN_SLOWED
    assert isinstance(await logins.check("news", "correct horse", "192.0.2.8"), LoggedIn), "the owner is elsewhere"
    assert isinstance(await logins.check("plus+name", "battery staple", IP), LoggedIn)
    clock.pass_(seconds=1)
    assert await logins.check("news", "wrong", IP) == reply.LOGIN_WRONG
    clock.pass_(seconds=1)
    assert await logins.check("news", "wrong", IP) == reply.LOGIN_SLOWED, "two seconds now"
    clock.pass_(seconds=1)
    assert isinstance(await logins.check("news", "correct horse", IP), LoggedIn)
    assert await logins.check("news", "wrong", IP) == reply.LOGIN_WRONG, "and it begins anew"
    assert isinstance(await logins.check("news", "correct horse", IP), LoggedIn)


async def test_pauses_do_not_tell_which_names_exist(logins: Logins) -> None:
    answers: dict[str, list[Reply | LoggedIn]] = {}
    for name, ip in (("news", "192.0.2.20"), ("nobody", "192.0.2.21")):
        answers[name] = [await logins.check(f"{name}+{i}", "wrong", ip) for i in range(8)]
    assert answers["news"] == answers["nobody"]
    assert reply.LOGIN_SLOWED in answers["news"]


async def test_one_password_on_many_names_is_slowed(logins: Logins) -> None:
    answers = [await logins.check(f"name{i}", "summer", IP) for i in range(40)]
    assert answers[:30] == [reply.LOGIN_WRONG] * 30
    assert answers[-1] == reply.LOGIN_SLOWED
    assert isinstance(await logins.check("news", "correct horse", "192.0.2.8"), LoggedIn)


def test_backoff_grows_to_its_longest_and_forgets() -> None:
    backoff, now = Backoff(free=0, longest=timedelta(seconds=60), forget=timedelta(hours=1)), NOW
    waits = []
    for _ in range(9):
        backoff.failed("k", now)
        wait = 0
        while backoff.wait("k", now):
            now += timedelta(seconds=1)
            wait += 1
        waits.append(wait)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    now += timedelta(hours=2)
    backoff.failed("k", now)
    assert not backoff.wait("k", now + timedelta(seconds=1))
    backoff.passed("k")
    assert not backoff.wait("k", now)


def test_backoff_is_bounded() -> None:
    backoff = Backoff(free=0, entries=10)
    for i in range(1000):
        backoff.failed(str(i), NOW)
    assert len(backoff) == 10
    assert backoff.wait("999", NOW) and not backoff.wait("0", NOW)


def test_logins_by_address(logins: Logins) -> None:
    found = logins.by_address("127.0.0.1")
    assert found is not None and found.login.name == "tool" and found.suffix is None
    assert logins.by_address(IP) is None
    assert logins.by_address("") is None
    assert logins.by_address("::1") is None


async def test_a_password_and_an_address_list(clock: Clock) -> None:
    caged = Logins({"caged": make_login("caged", allowed=("192.0.2.0/24", "2001:db8::/32"))}, clock=clock)
    assert isinstance(await caged.check("caged", "in a cage", IP), LoggedIn)
    assert isinstance(await caged.check("caged", "in a cage", "2001:db8::7"), LoggedIn)
    assert await caged.check("caged", "in a cage", "198.51.100.1") == reply.LOGIN_ELSEWHERE
    assert caged.by_address(IP) is None, "a password is asked for"
    caged.close()


async def test_open_sessions_after_a_reload(logins: Logins) -> None:
    got = await logins.check("news+x", "correct horse", IP)
    assert isinstance(got, LoggedIn)
    assert logins.current(got) is got
    logins.reload({"news": replace(make_login("news"), streams=("events",))})
    again = logins.current(got)
    assert again is not None and again.login.streams == ("events",) and again.suffix == "x"
    logins.reload({"news": replace(make_login("news"), password_hash=HASHES["caged"])})
    assert logins.current(got) is None
    logins.reload({})
    assert logins.current(got) is None


async def test_no_login_in_clear_off_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.inbound import connection

    monkeypatch.setattr(connection, "plain_ip", lambda name: (IP, False))
    async with submission(make_config()) as (door, _), greeted(door) as client:
        assert not any("AUTH" in line for line in client.last)
        assert (await client.ask("AUTH PLAIN AG5ld3MAY29ycmVjdCBob3JzZQ==")).startswith("538 5.7.11")
        assert (await client.ask("AUTH LOGIN")).startswith("538 5.7.11"), "before the password is sent"


async def test_login_by_address_needs_no_auth_and_auth_still_counts() -> None:
    both = OPEN_TO_LOOPBACK | {"news": make_login("news")}
    async with submission(make_config(logins=both)) as (door, taken), greeted(door) as client:
        assert (await client.mail(b"x: y\r\n\r\n")).startswith("250")
        assert (await client.ask("AUTH PLAIN AG5ld3MAY29ycmVjdCBob3JzZQ==")).startswith("235")
        assert (await client.mail(b"x: y\r\n\r\n")).startswith("250")
        assert [envelope.login for envelope in taken.messages] == ["tool", "news"]


async def test_a_long_auth_line_is_taken_and_a_longer_one_is_not() -> None:
    async with submission(make_config()) as (door, _), greeted(door) as client:
        assert (await client.ask("AUTH PLAIN " + "A" * 12_000)).startswith("501 5.5.2 Cannot decode")
        assert (await client.ask("AUTH PLAIN " + "A" * 12_300)).startswith("500 5.5.2 Command line too long")


def asking(*responses: bytes) -> Callable[[bytes], Any]:
    left = list(responses)

    async def ask(challenge: bytes) -> bytes | Reply:
        return left.pop(0)

    return ask


async def test_sasl_exchange() -> None:
    wanted = sasl.Credentials(name="bob", password="pässword")
    assert await sasl.exchange("PLAIN", b"AGJvYgBww6Rzc3dvcmQ=", asking()) == wanted
    assert await sasl.exchange("PLAIN", None, asking(b"AGJvYgBww6Rzc3dvcmQ=")) == wanted
    assert await sasl.exchange("LOGIN", None, asking(b"Ym9i", b"cMOkc3N3b3Jk")) == wanted
    assert await sasl.exchange("LOGIN", b"Ym9i", asking(b"cMOkc3N3b3Jk")) == wanted
    assert await sasl.exchange("LOGIN", None, asking(b"/w==", b"/w==")) == reply.LOGIN_WRONG, "not UTF-8"
    assert "pässword" not in repr(wanted) and "bob" not in repr(wanted)
