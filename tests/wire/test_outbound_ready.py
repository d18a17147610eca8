"""Getting ready: in clear only where the policy says so, a password never in the open, and every failure waits."""

import base64
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.mail.answer import Answer
from gateway.mail.envelope import Rcpt
from gateway.outbound import tls_policy
from gateway.outbound.connect import ConnectFailed, Features, Timeouts, offered
from gateway.outbound.link import Link
from gateway.outbound.pool import Habits, Pool
from gateway.outbound.tls_policy import POLICIES, context_for
from tests.peers import Close, Drip, Raw, ScriptedPeer, Silence, Step, Transaction, route_to

BOB = Rcpt(address="bob@example.net")
PLAIN = "AUTH PLAIN " + base64.b64encode("\0gäte\0s3cret".encode()).decode()
OFFERS = ("PIPELINING", "AUTH PLAIN LOGIN")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def deliver(peer: ScriptedPeer, *, ca_file: Path | None = None, seconds: float = 5, **route: Any) -> Transaction:
    """Send one copy to the peer; the transaction as it saw it."""
    timeouts = Timeouts(greeting=seconds, ehlo=seconds, tls=seconds, auth=seconds)
    pool = Pool(route_to(peer, **route), hostname="gate.test", ca_file=ca_file, timeouts=timeouts)
    try:
        async with pool.session() as session:
            assert (await session.transaction("", BOB, b"a\r\n")).state == "delivered"
    finally:
        await pool.close()
    return peer.transactions[-1]


@pytest.mark.parametrize(
    ("script", "stage", "code", "enhanced"),
    [
        ({"CONNECT": "554 5.3.2 no service"}, "greeting", 554, "4.0.0"),
        ({"CONNECT": "421 4.3.2 too many"}, "greeting", 421, "4.3.2"),
        ({"CONNECT": Close()}, "greeting", None, "4.4.2"),
        ({"CONNECT": Silence()}, "greeting", None, "4.4.2"),
        ({"CONNECT": Raw(b"SSH-2.0-OpenSSH_9.2\r\n")}, "greeting", None, "4.5.0"),
        ({"EHLO": "421 4.3.2 later"}, "ehlo", 421, "4.3.2"),
        ({"EHLO": "450 4.7.1 greylisted"}, "ehlo", 450, "4.7.1"),
        ({"EHLO": Close()}, "ehlo", None, "4.4.2"),
        ({"EHLO": Silence()}, "ehlo", None, "4.4.2"),
        ({"EHLO": "502 what", "HELO": "550 5.7.1 go away"}, "ehlo", 550, "4.0.0"),
        ({"EHLO": "250-x\r\n" * 5000 + "250 x"}, "ehlo", None, "4.5.0"),
        ({"CONNECT": ("220-" + "x" * 3000 + "\r\n") * 30 + "220 hi"}, "greeting", None, "4.5.0"),
        ({"CONNECT": Raw(b"220 " + b"x" * 70_000 + b"\r\n")}, "greeting", None, "4.5.0"),
        ({"CONNECT": Drip(b"220-hold the line\r\n")}, "greeting", None, "4.4.2"),
        ({"EHLO": Drip(b"250-" + b"x" * 500)}, "ehlo", None, "4.4.2"),
    ],
)
async def test_a_host_that_does_not_get_ready(
    script: dict[str, Step], stage: str, code: int | None, enhanced: str
) -> None:
    impatient = any(isinstance(step, Silence | Drip) for step in script.values())
    async with ScriptedPeer(script) as peer:
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, seconds=0.1 if impatient else 60)
        await peer.all_closed()
    outcome = failed.value.outcome
    assert (outcome.state, outcome.stage, outcome.code, outcome.enhanced) == ("retry", stage, code, enhanced)
    assert outcome.connection_over


async def test_a_reply_longer_than_the_standard_allows_is_read() -> None:
    """RFC 5321 4.5.3.1.5 has 512 octets for a line; banners of real servers pass it."""
    async with ScriptedPeer({"CONNECT": "220-" + "x" * 3000 + "\r\n220 hi"}) as peer:
        assert (await deliver(peer)).rcpts == ["RCPT TO:<bob@example.net>"]


@pytest.mark.parametrize(
    ("host", "enhanced"), [("127.0.0.1", "4.4.1"), ("no-such-host.invalid", "4.4.3"), ("a" * 70 + ".example", "4.4.3")]
)  # RFC 6761: .invalid never resolves
async def test_a_host_that_is_not_there(host: str, enhanced: str) -> None:
    async with ScriptedPeer() as peer:
        free = peer.port
    pool = Pool(route_to(free, host=host), hostname="gate.test")
    with pytest.raises(ConnectFailed) as failed:
        async with pool.session():
            pytest.fail("there is nobody")
    assert failed.value.outcome.enhanced == enhanced


async def test_helo_for_a_server_without_ehlo() -> None:
    async with ScriptedPeer({"EHLO": "500 5.5.1 what"}) as peer:
        assert (await deliver(peer)).mail == "MAIL FROM:<>"
    assert peer.commands[:2] == ["EHLO gate.test", "HELO gate.test"]


@pytest.mark.parametrize(
    ("lines", "features"),
    [
        (["mx", "PIPELINING", "SIZE 1000", "8BITMIME"], Features(pipelining=True, size=1000, eightbit=True)),
        (["mx", "size", "dsn", "SmtpUtf8"], Features(dsn=True, smtputf8=True)),
        (["mx", "SIZE 0", "STARTTLS"], Features(starttls=True)),
        (["mx", "SIZE x", "SIZE -1", "SIZE " + "9" * 30, ""], Features()),
        (["mx", "AUTH PLAIN LOGIN", "AUTH=CRAM-MD5"], Features(auth=frozenset({"PLAIN", "LOGIN", "CRAM-MD5"}))),
        (["PIPELINING"], Features()),
    ],
)
def test_what_ehlo_offers(lines: list[str], features: Features) -> None:
    assert offered(Answer(code=250, lines=tuple(line.encode() for line in lines))) == features


GOOD, OTHER_NAME, STRANGER, NONE, REFUSES, BREAKS, INJECTS = (
    "good", "other name", "stranger", "not offered", "refuses", "breaks", "injects",
)  # fmt: skip


@pytest.mark.parametrize(
    ("tls", "server", "encrypted"),
    [
        ("none", GOOD, False),
        ("opportunistic", GOOD, True),
        ("opportunistic", OTHER_NAME, True),
        ("opportunistic", STRANGER, True),
        ("opportunistic", NONE, False),
        ("opportunistic", REFUSES, False),
        ("opportunistic", BREAKS, False),
        ("opportunistic", INJECTS, "protocol"),
        ("require", GOOD, True),
        ("require", STRANGER, True),
        ("require", NONE, "no_tls"),
        ("require", REFUSES, "refused"),
        ("require", BREAKS, "tls"),
        ("verify", GOOD, True),
        ("verify", OTHER_NAME, "tls"),
        ("verify", STRANGER, "tls"),
        ("verify", NONE, "no_tls"),
        ("verify", BREAKS, "tls"),
        ("verify", INJECTS, "protocol"),
    ],
)
async def test_tls_by_policy(
    authority: trustme.CA, ca_file: Path, tls: Any, server: str, encrypted: bool | str
) -> None:
    issuer = trustme.CA() if server == STRANGER else authority
    context = server_context(issuer, "other.test" if server == OTHER_NAME else "127.0.0.1")
    script: dict[str, Step] = {
        REFUSES: {"STARTTLS": "454 4.7.0 not now"},
        BREAKS: {"STARTTLS": Raw(b"220 go on\r\n")},  # and goes on in clear
        INJECTS: {"STARTTLS": Raw(b"220 go on\r\n250 2.0.0 injected\r\n")},
    }.get(server, {})
    async with ScriptedPeer(script, context=None if server == NONE else context) as peer:
        if isinstance(encrypted, bool):
            assert (await deliver(peer, ca_file=ca_file, tls=tls)).encrypted is encrypted
            assert peer.commands.count("EHLO gate.test") == (2 if encrypted or server == BREAKS else 1)
            return
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, ca_file=ca_file, tls=tls)
        await peer.all_closed()
    outcome = failed.value.outcome
    expected = {"tls": "4.7.5", "no_tls": "4.7.5", "refused": "4.7.0", "protocol": "4.5.0"}[encrypted]
    assert (outcome.state, outcome.enhanced) == ("retry", expected)
    assert not peer.transactions


async def test_a_host_whose_tls_failed_is_spoken_to_in_clear_from_then_on(authority: trustme.CA) -> None:
    script: dict[str, Step | Sequence[Step]] = {"STARTTLS": Raw(b"220 go on\r\n"), ".": Close("250 2.0.0 ok")}
    async with ScriptedPeer(script, context=server_context(authority, "x.test")) as peer:
        pool = Pool(route_to(peer, tls="opportunistic", connections=1), hostname="gate.test")
        for _ in range(2):
            async with pool.session() as session:
                assert (await session.transaction("", BOB, b"a\r\n")).state == "delivered"
        await pool.close()
    assert peer.commands.count("STARTTLS") == 1
    assert peer.connections == 3


@pytest.mark.parametrize("tls", ["opportunistic", "verify"])
async def test_the_port_of_implicit_tls(
    authority: trustme.CA, ca_file: Path, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = server_context(authority, "127.0.0.1")
    async with ScriptedPeer(features=OFFERS, context=context, implicit=True) as peer:
        monkeypatch.setattr(tls_policy, "IMPLICIT_TLS_PORT", peer.port)
        assert (await deliver(peer, ca_file=ca_file, tls=tls, username="gäte", password="s3cret")).encrypted
    assert "STARTTLS" not in peer.commands


async def test_implicit_tls_with_a_stranger_fails(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedPeer(context=server_context(trustme.CA(), "127.0.0.1"), implicit=True) as peer:
        monkeypatch.setattr(tls_policy, "IMPLICIT_TLS_PORT", peer.port)
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, ca_file=ca_file, tls="verify")
    assert failed.value.outcome.enhanced == "4.7.5"


def test_contexts_are_as_strict_as_their_policy() -> None:
    assert context_for(POLICIES["none"]) is None
    for name in ("opportunistic", "require", "verify"):
        context = context_for(POLICIES[name])
        assert context is not None
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.check_hostname is (name == "verify")
        assert (context.verify_mode == ssl.CERT_REQUIRED) is (name == "verify")


@pytest.mark.parametrize(
    ("features", "script", "sent"),
    [
        (OFFERS, {}, [PLAIN]),
        (("AUTH=PLAIN",), {}, [PLAIN]),
        (
            ("AUTH LOGIN CRAM-MD5",),
            {"AUTH LOGIN": "334 VXNlcm5hbWU6"},
            ["AUTH LOGIN", base64.b64encode("gäte".encode()).decode(), base64.b64encode(b"s3cret").decode()],
        ),
    ],
)
async def test_login(features: Sequence[str], script: dict[str, Step], sent: list[str]) -> None:
    async with ScriptedPeer(script, features=features) as peer:
        await deliver(peer, username="gäte", password="s3cret")
    assert peer.commands[1 : 1 + len(sent)] == sent


@pytest.mark.parametrize(
    ("features", "script", "code", "enhanced"),
    [
        (OFFERS, {"AUTH": "535 5.7.8 wrong"}, 535, "4.7.0"),
        (OFFERS, {"AUTH": "454 4.7.0 busy"}, 454, "4.7.0"),
        (OFFERS, {"AUTH": Close("421 4.7.0 too many")}, 421, "4.7.0"),
        (OFFERS, {"AUTH": Close()}, None, "4.4.2"),
        (("AUTH LOGIN",), {"AUTH LOGIN": "535 5.7.8 no"}, 535, "4.7.0"),
        (("AUTH LOGIN",), {"AUTH LOGIN": "334 VXNlcm5hbWU6", "AUTH END": "535 5.7.8 no"}, 535, "4.7.0"),
        (("AUTH CRAM-MD5",), {}, None, "4.7.0"),
        ((), {}, None, "4.7.0"),
    ],
)
async def test_a_refused_login_waits(
    features: Sequence[str], script: dict[str, Step], code: int | None, enhanced: str
) -> None:
    async with ScriptedPeer(script, features=features) as peer:
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, username="gäte", password="s3cret")
        await peer.all_closed()
    outcome = failed.value.outcome
    assert (outcome.state, outcome.stage, outcome.code, outcome.enhanced) == ("retry", "auth", code, enhanced)
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        ("AUTH LOGIN XOAUTH2 PLAIN", ("XOAUTH2", b"user=ann@x.example\x01auth=Bearer ya29.{}\x01\x01")),
        (
            "AUTH OAUTHBEARER",
            ("OAUTHBEARER", b"n,a=ann@x.example,\x01host=127.0.0.1\x01port=#\x01auth=Bearer ya29.{}\x01\x01"),
        ),
    ],
)
async def test_a_token_is_read_at_each_login(tmp_path: Path, offer: str, says: tuple[str, bytes]) -> None:
    token = tmp_path / "token"
    async with ScriptedPeer({".": Close("250 2.0.0 ok")}, features=["PIPELINING", offer]) as peer:
        route = route_to(peer, username="ann@x.example", token_file=token, connections=1)
        pool = Pool(route, hostname="gate.test")
        for number in (b"1", b"2"):  # another program put a fresh one there
            token.write_bytes(b"ya29." + number + b"\n")
            async with pool.session() as session:
                assert (await session.transaction("", BOB, b"a\r\n")).state == "delivered"
        await pool.close()
    mechanism, said = says
    logins = [line.split(" ") for line in peer.commands if line.startswith("AUTH")]
    assert [login[1] for login in logins] == [mechanism] * 2
    expected = [said.replace(b"{}", n).replace(b"#", str(peer.port).encode()) for n in (b"1", b"2")]
    assert [base64.b64decode(login[2]) for login in logins] == expected


async def test_a_refused_token_is_answered_as_the_mechanism_wants(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("ya29.old")
    script: dict[str, Step] = {
        "CONNECT": "220 hi", "EHLO": "250-peer.test\r\n250 AUTH XOAUTH2",
        "AUTH": Raw(b"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"), "": "535 5.7.8 ya29.old is no good",
    }  # fmt: skip
    async with ScriptedPeer(script) as peer:
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, username="ann", token_file=token)
    assert peer.commands[2] == ""
    outcome = failed.value.outcome
    assert (outcome.state, outcome.stage, outcome.code) == ("retry", "auth", 535)
    assert outcome.text == "[secret] is no good"


@pytest.mark.parametrize(("offer", "there"), [("AUTH PLAIN LOGIN", True), ("AUTH XOAUTH2", False)])
async def test_a_token_is_no_password_and_has_to_be_there(tmp_path: Path, offer: str, there: bool) -> None:
    token = tmp_path / "token"
    if there:
        token.write_text("ya29.1")
    async with ScriptedPeer(features=[offer]) as peer:
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, username="ann", token_file=token)
    assert failed.value.outcome.enhanced == "4.7.0"
    assert not [line for line in peer.commands if line.startswith("AUTH")]


async def test_what_a_server_repeats_of_a_password_goes_no_further() -> None:
    repeated = f"535 5.7.8 s3cret or {PLAIN.rpartition(' ')[2]} is wrong"
    async with ScriptedPeer({"AUTH": repeated}, features=OFFERS) as peer:
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, username="gäte", password="s3cret")
    assert failed.value.outcome.text == "[secret] or [secret] is wrong"


async def test_a_host_that_refuses_our_login_is_not_asked_again_at_once_and_the_other_is() -> None:
    async with (
        ScriptedPeer({"AUTH": "535 5.7.8 no"}, features=OFFERS) as first,
        ScriptedPeer({"CONNECT": ["421 4.3.2 down", "220 up"]}, features=OFFERS) as second,
    ):
        route = route_to(first, second, username="gäte", password="s3cret")
        pool = Pool(route, hostname="gate.test", habits=Habits(all_down=0, cool_down=0))
        with pytest.raises(ConnectFailed) as failed:
            async with pool.session():
                pytest.fail("nobody is ready")
        assert failed.value.outcome.code == 535
        async with pool.session() as session:
            assert (await session.transaction("", BOB, b"a\r\n")).state == "delivered"
        await pool.close()
    assert (first.connections, second.connections) == (1, 2)


@pytest.mark.parametrize(("tls", "encrypted"), [("verify", "4.7.5"), ("require", True), ("opportunistic", True)])
async def test_an_expired_certificate_is_no_proof(
    authority: trustme.CA, ca_file: Path, tls: Any, encrypted: bool | str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    async with ScriptedPeer(context=context) as peer:
        if encrypted is True:
            assert (await deliver(peer, ca_file=ca_file, tls=tls)).encrypted
            return
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, ca_file=ca_file, tls=tls)
    assert failed.value.outcome.enhanced == encrypted and "expired" in failed.value.outcome.text


async def test_a_password_does_not_leave_the_machine_in_clear(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Link, "on_loopback", property(lambda self: False))
    async with ScriptedPeer(features=OFFERS) as peer:
        with pytest.raises(ConnectFailed) as failed:
            await deliver(peer, tls="opportunistic", username="gäte", password="s3cret")
        assert failed.value.outcome.enhanced == "4.7.0"
        assert peer.commands == ["EHLO gate.test", "QUIT"] or peer.commands == ["EHLO gate.test"]
    async with ScriptedPeer(features=OFFERS, context=server_context(authority, "x.test")) as peer:
        assert (await deliver(peer, tls="opportunistic", username="gäte", password="s3cret")).encrypted
    assert PLAIN in peer.commands
