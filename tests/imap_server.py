"""A Dovecot of the test's own: IMAP on a free loopback port over a Maildir that the test delivers into.

It runs as whoever runs the test; started by root its mail belongs to `nobody`, since Dovecot serves none to root.
"""

import contextlib
import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports

DOVECOT = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin")
USER, PASSWORD = "seed@example.net", "Geheim-van-de-test"

_SETTINGS = """
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 1
mail_location = maildir:{place}/mail
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={place}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


@dataclass(frozen=True, slots=True)
class ImapServer:
    """A running server. `place` holds its Maildir `mail`."""

    place: Path
    port: int

    @property
    def settings(self) -> str:
        """The table of the settings that has it read."""
        where = f'imap = "127.0.0.1:{self.port}"\ntls="none"\n'
        return f'[seed]\naddress = "{USER}"\n{where}password = "{PASSWORD}"\n'

    def deliver(self, message: bytes) -> None:
        """Put a message into the mailbox, as a delivery agent does: LF line ends, written aside, then moved."""
        name = f"{time.time_ns()}.test"
        (self.place / "mail/tmp" / name).write_bytes(message.replace(b"\r\n", b"\n"))
        (self.place / "mail/tmp" / name).chmod(0o666)
        (self.place / "mail/tmp" / name).rename(self.place / "mail/new" / name)


@contextlib.contextmanager
def imap_server() -> Iterator[ImapServer]:
    """Started and answering; gone with the block."""
    root = os.getuid() == 0
    user = pwd.getpwnam("nobody" if root else pwd.getpwuid(os.getuid()).pw_name)
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="consentgate-imap-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        for name in ("mail", "mail/tmp", "mail/new", "mail/cur"):
            (place / name).mkdir(mode=0o700)
            os.chown(place / name, user.pw_uid, user.pw_gid)
        me = user.pw_name
        (place / "dovecot.conf").write_text(_SETTINGS.format(
            place=place, port=port, password=PASSWORD, uid=user.pw_uid, gid=user.pw_gid,
            internal="dovecot" if root else me, login="dovenull" if root else me,
            group="dovecot" if root else grp.getgrgid(user.pw_gid).gr_name,
        ))  # fmt: skip
        assert DOVECOT is not None
        process = subprocess.Popen([DOVECOT, "-F", "-c", place / "dovecot.conf"], stderr=subprocess.DEVNULL)
        try:
            _answers(place, port, process)
            yield ImapServer(place, port)
        finally:
            process.terminate()
            process.wait(20)


def _answers(place: Path, port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as talk:
            if talk.recv(100).startswith(b"* OK"):
                return
    log = place / "log"
    raise RuntimeError(f"Dovecot does not answer:\n{log.read_text() if log.exists() else ''}")
