"""A Postfix of a test's own: its own queue and ports, stopped and removed afterwards."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.ports import free_ports

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


LOGIN = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {d}/run/postfix
smtpd_tls_auth_only = yes
smtpd_error_sleep_time = 0
smtpd_relay_restrictions = permit_sasl_authenticated, reject
"""
DOVECOT = """\
base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/dovecot.log
protocols =
ssl = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {d}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={d}
}}
service auth {{
  unix_listener {d}/run/postfix {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
"""


@dataclass(frozen=True)
class Postfix:
    port: int
    ca_file: Path


@contextlib.contextmanager
def running_postfix(
    next_port: int, more: str = "", *, login: tuple[str, str] | None = None, mechanisms: str = "plain login"
) -> Iterator[Postfix]:
    """An instance of its own that relays to a port of this machine; skips the test where it cannot run.

    `more`: lines for main.cf. `login`: name and password without which it takes nothing, and those by TLS only.
    """
    if login is not None and shutil.which("dovecot") is None:
        pytest.skip("Dovecot, which says who may log in, is not installed")
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
        [port] = free_ports(1)
        daemons = subprocess.run(
            ["postconf", "-dh", "daemon_directory"], capture_output=True, text=True, check=True
        ).stdout.strip()
        conf = directory / "conf"
        if login is not None:
            more += LOGIN.format(d=directory)
        (conf / "main.cf").write_text(MAIN.format(d=directory, daemons=daemons, next=next_port) + more)
        (conf / "master.cf").write_text(MASTER.format(port=port))
        (conf / "dynamicmaps.cf").write_text("")
        # the listener stands when `start` returns: the master binds it before it tells the command to end
        with _door_keeper(directory, login, mechanisms):
            subprocess.run(["postfix", "-c", str(conf), "start"], check=True, capture_output=True, timeout=60)
            try:
                yield Postfix(port=port, ca_file=directory / "ca.pem")
            finally:
                subprocess.run(["postfix", "-c", str(conf), "stop"], check=True, capture_output=True, timeout=60)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _door_keeper(directory: Path, login: tuple[str, str] | None, mechanisms: str) -> Iterator[None]:
    """A Dovecot that tells Postfix who may log in."""
    if login is None:
        yield
        return
    (directory / "users").write_text("{}:{{PLAIN}}{}\n".format(*login))
    settings = directory / "dovecot.conf"
    settings.write_text(DOVECOT.format(d=directory, mechanisms=mechanisms))
    with subprocess.Popen(["dovecot", "-F", "-c", str(settings)], stderr=subprocess.DEVNULL) as running:
        try:
            end = time.monotonic() + 30
            while not (directory / "run/postfix").is_socket():
                assert running.poll() is None and time.monotonic() < end, (directory / "dovecot.log").read_text()
                time.sleep(0.02)
            yield
        finally:
            running.terminate()
