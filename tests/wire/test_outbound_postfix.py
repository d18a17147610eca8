"""A real Postfix takes what the client hands over, by STARTTLS, and passes the same bytes on."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.envelope import Rcpt
from gateway.mail.judgement import judge_live
from gateway.outbound.connect import ConnectFailed
from gateway.outbound.pool import Pool
from tests.peers import ScriptedPeer, route_to

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
MAIN = """\
compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
daemon_directory = {daemons}
maillog_file_prefixes = {d}
maillog_file = {d}/mail.log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = gate.test
mydestination =
local_recipient_maps =
alias_maps =
relayhost = [127.0.0.1]:{next}
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{ unknown@example.net = 550 5.1.1 No such user }} }}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_tls_security_level = may
smtpd_tls_cert_file = {d}/server.pem
smtpd_tls_key_file = {d}/server.pem
smtpd_client_connection_count_limit = 2
smtpd_client_event_limit_exceptions =
message_size_limit = 100000
"""


@dataclass(frozen=True)
class Postfix:
    port: int
    ca_file: Path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


@pytest.fixture
async def sink() -> AsyncIterator[ScriptedPeer]:
    async with ScriptedPeer() as peer:
        yield peer


@pytest.fixture
def postfix(sink: ScriptedPeer) -> Iterator[Postfix]:
    """An instance of its own, with its own queue, that relays to the sink; stopped and removed afterwards."""
    if shutil.which("postfix") is None or os.geteuid() != 0:
        pytest.skip("Postfix is not installed, or not run as root as its master must be")
    directory = Path(tempfile.mkdtemp(prefix="consentgate-postfix-"))
    try:
        directory.chmod(0o755)  # its daemons step down to the user postfix
        for name in ("conf", "queue", "data"):
            (directory / name).mkdir()
        shutil.chown(directory / "data", "postfix")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(directory / "server.pem")
        )
        port = free_port()
        daemons = subprocess.run(
            ["postconf", "-dh", "daemon_directory"], capture_output=True, text=True, check=True
        ).stdout.strip()
        conf = directory / "conf"
        (conf / "main.cf").write_text(MAIN.format(d=directory, daemons=daemons, next=sink.port))
        (conf / "master.cf").write_text(MASTER.format(port=port))
        (conf / "dynamicmaps.cf").write_text("")
        # the listener stands when `start` returns: the master binds it before it tells the command to end
        subprocess.run(["postfix", "-c", str(conf), "start"], check=True, capture_output=True, timeout=60)
        try:
            yield Postfix(port=port, ca_file=directory / "ca.pem")
        finally:
            subprocess.run(["postfix", "-c", str(conf), "stop"], check=True, capture_output=True, timeout=60)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_copies_go_through_postfix_as_they_are(postfix: Postfix, sink: ScriptedPeer) -> None:
    body = b"".join(b"%d .\r\n.\r\n..%s\r\n" % (n, b"x" * (n % 900)) for n in range(150)) + "Zoë\r\n".encode()
    mail = b"From: news@acme.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + body
    pool = Pool(route_to(postfix.port, tls="verify", connections=4), hostname="gate.test", ca_file=postfix.ca_file)

    async def deliver(n: int) -> str:
        async with pool.session() as session:
            assert session.encrypted
            assert session.features.pipelining and session.features.dsn
            # Postfix allows two connections of the four; the fourth recipient is one it does not take
            rcpt = Rcpt(address="unknown@example.net" if n == 3 else f"r{n}@example.net", notify=frozenset({"NEVER"}))
            return (await session.transaction("b@bounce.acme.example", rcpt, mail, ret="HDRS", envid=f"e{n}")).state

    states = await asyncio.gather(*(deliver(n) for n in range(8)))
    assert states == ["failed" if n == 3 else "delivered" for n in range(8)]
    assert pool.live == 2
    await sink.until(lambda: len(sink.transactions) == 7)
    arrived = {t.rcpts[0].partition("> ")[0]: t for t in sink.transactions}
    assert set(arrived) == {f"RCPT TO:<r{n}@example.net" for n in range(8) if n != 3}
    for transaction in arrived.values():
        assert transaction.data.partition(b"\r\n\r\n")[2] == body
        assert "NOTIFY=NEVER" in transaction.rcpts[0]
        assert "RET=HDRS" in transaction.mail

    async with pool.session() as session:
        too_large = await session.transaction("", Rcpt(address="bob@example.net"), b"a" * 100_001)
        assert (too_large.state, too_large.enhanced) == ("failed", "5.3.4")
        unknown = await session.transaction("", Rcpt(address="unknown@example.net"), b"a: b\r\n\r\n")
        assert (unknown.state, unknown.stage) == ("failed", "rcpt")
        assert judge_live(read_bounce_rules(), unknown).undeliverable
        assert "unknown@" not in unknown.text
    await pool.close()

    stranger = Pool(route_to(postfix.port, tls="verify"), hostname="gate.test")  # the system's CAs do not know it
    with pytest.raises(ConnectFailed) as failed:
        async with stranger.session():
            pytest.fail("the certificate is unknown")
    assert failed.value.outcome.enhanced == "4.7.5"
