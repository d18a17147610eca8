"""P1: nothing that was answered 250 is lost, whatever happens to the process or the disk."""

import contextlib
import random
import resource
import smtplib
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.installation import Gateway, Make, lines_of, newsletter
from tests.story.relay import Relay, fresh, on_both, one_click_url, relaying

CLIENTS = 20
MESSAGES = 2_000
PEOPLE = [f"p{n:02d}@example.org" for n in range(40)]


class Pump:
    """Twenty newsletter tools that send as fast as they are answered, and come again when the connection is gone."""

    def __init__(self, gateway: Gateway, enough: int) -> None:
        self.taken: dict[str, str] = {}
        """Subject of each message that was answered 250, and whom it is for."""
        self._gateway, self._enough = gateway, enough
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        i = 0
        while len(self.taken) < self._enough:
            try:
                with self._gateway.client() as session:
                    while len(self.taken) < self._enough:
                        i += 1
                        subject, recipient = f"k{number}-{i}", PEOPLE[(number * 7 + i) % len(PEOPLE)]
                        session.mail("news@acme.example")
                        session.rcpt(recipient)
                        code, text = session.data(newsletter(subject))
                        if code == 250:
                            self.taken[subject] = recipient
                        else:
                            self.failed.append(f"{code} {text!r}")
            except (OSError, smtplib.SMTPException):
                threading.Event().wait(0.05)  # killed: try again, as tools do

    def end(self) -> None:
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()


def _all_arrived(relay: Relay, taken: dict[str, str]) -> Counter[str]:
    """Every message is there, whole, at its own person; how often each subject came."""
    relay.upstream.until(lambda: set(taken) <= {mail.message["Subject"] for mail in relay.upstream.mails}, 60)
    for mail in relay.upstream.mails:
        subject = mail.message["Subject"]
        assert taken.get(subject, mail.recipient) == mail.recipient
        assert mail.raw.endswith(b"--b1--\r\n")
        assert mail.message.get_body(("plain",)) is not None
    return Counter(mail.message["Subject"] for mail in relay.upstream.mails)


@on_both
def test_p1_kill_9_under_load_loses_nothing(make: Make, tmp_path: Path) -> None:
    installation = make(tmp_path / "installation")
    with relaying(installation) as relay:
        relay.agree(*PEOPLE)
        pump = Pump(relay.gateway, MESSAGES)
        for part in (1, 2):
            enough = int(MESSAGES * part / 3) + random.randrange(MESSAGES // 4)
            relay.gateway.eventually(lambda enough=enough: len(pump.taken) >= enough, 120)
            relay.gateway.kill()
            relay.gateway.start()
        pump.end()
        assert not pump.failed
        counts = _all_arrived(relay, pump.taken)
        relay.drained()
        assert relay.gateway.stop() == 0
    # ten connections, each with one copy on its way and one ending being written when the process died
    assert sum(counts.values()) - len(counts) <= 2 * 2 * 10


def test_p1_and_p5_a_full_disk_refuses_and_loses_nothing(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    with relaying(installation) as relay:
        relay.agree(*PEOPLE)
        mail = relay.passes(PEOPLE[0], newsletter("ervoor"))
        relay.drained()
        assert relay.gateway.process is not None
        pid, hard = relay.gateway.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        wal = installation.dir / "consentgate.db-wal"
        # files may not grow: what the kernel answers to a write beyond is what a full disk looks like to a database
        grown = max(file.stat().st_size for file in (wal, installation.dir / "consentgate.db"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (grown + 65536, hard))
        big = newsletter("vol").replace(b"Rode wijn met korting", b"Rode wijn " * 40_000)
        taken = {}
        with relay.gateway.client() as session:
            for n in range(60):
                session.mail("news@acme.example")
                session.rcpt(PEOPLE[n % len(PEOPLE)])
                code, text = session.data(big.replace(b"Subject: vol", b"Subject: vol-%d" % n))
                if code != 250:
                    break
                taken[f"vol-{n}"] = PEOPLE[n % len(PEOPLE)]
            else:
                pytest.fail("the disk was never full")
            assert (code, text[:6]) == (451, b"4.3.0 ")
            refused = f"vol-{n}"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))  # not even a line of the log
            answer = relay.one_click(one_click_url(mail))
            assert answer.status_code == 503
            session.mail("news@acme.example")
            session.rcpt(PEOPLE[1])
            assert session.data(newsletter("vol-klein"))[0] == 451
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
            session.mail("news@acme.example")
            session.rcpt(PEOPLE[1])
            code, text = session.data(newsletter("erna"))
            assert code == 250, text
            taken["erna"] = PEOPLE[1]
        assert relay.one_click(one_click_url(mail)).status_code == 200
        counts = _all_arrived(relay, taken)
        relay.drained()
        assert refused not in counts
        assert set(counts.values()) == {1}
        assert "Traceback" not in relay.gateway.log()


def test_p1_what_waits_survives_a_kill_while_the_next_server_is_away(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    with relaying(installation, {"MAIL": "451 4.3.2 later"}) as relay:
        relay.agree(*PEOPLE[:5])
        for n, address in enumerate(PEOPLE[:5]):
            relay.taken(address, newsletter(f"wacht-{n}"))
        relay.gateway.eventually(lambda: relay.gateway.log().count("event=tried") >= 5)
        relay.gateway.kill()
        with contextlib.closing(smtplib.SMTP()) as nobody, pytest.raises(OSError):
            nobody.connect("127.0.0.1", installation.smtp_port)
        relay.gateway.start()
        waiting = [row for row in _queue(relay) if row["state"] == "queued"]
        assert len(waiting) == 5
        assert all(row["attempts"] == 1 for row in waiting)


def _queue(relay: Relay) -> list[dict[str, object]]:
    return lines_of(relay.installation.tool("queue", "list", "--json"))
