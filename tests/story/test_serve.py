"""`serve` as an operator runs it: reloads of anything, several workers as one, a service manager."""

import contextlib
import os
import select
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.cli.installation import self_signed
from tests.installation import ANNA, KLEED, Gateway, Installation, fresh, newsletter
from tests.ports import free_ports
from tests.story.relay import Relay, load_people, relaying
from tests.story.test_killed import PEOPLE, Pump, _all_arrived
from tests.story.test_reload import reload
from tests.story.test_workers import children

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    new = fresh(made, tmp_path / "installation")
    load_people(new)
    return new


def reload_all(relay: Relay, workers: int) -> None:
    """SIGHUP, until every worker has the new settings."""
    before = relay.gateway.log().count("event=reloaded")
    relay.gateway.signal(signal.SIGHUP)
    relay.gateway.eventually(lambda: relay.gateway.log().count("event=reloaded") >= before + workers)


def supervised(gateway: Gateway) -> list[int]:
    assert gateway.process is not None
    return children(gateway.process.pid)


def answers(port: int) -> bool:
    """Whether somebody greets there."""
    with contextlib.suppress(OSError), smtplib.SMTP("127.0.0.1", port, timeout=20) as session:
        return session.noop()[0] == 250
    return False


# reload


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether a process ignores a signal (proc(5))."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigIgn"], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_that_is_asked_for_during_the_start_ends_nothing(installation: Installation, workers: int) -> None:
    """All the time, from the first thing that `serve` does until it is ready."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", installation.config, "--workers", str(workers)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=(installation.dir / "serve.log").open("wb")
    ) as serving:
        assert serving.stdout is not None
        try:
            while not ignores(serving.pid, signal.SIGHUP):
                assert serving.poll() is None
            while not select.select([serving.stdout], [], [], 0.001)[0]:
                serving.send_signal(signal.SIGHUP)
            assert serving.stdout.readline().startswith(b"ready")
            serving.terminate()
            assert serving.wait(60) == 0
        finally:
            serving.kill()


@pytest.mark.parametrize("workers", [1, 2])
def test_new_ports_certificates_and_templates_need_no_restart(installation: Installation, workers: int) -> None:
    with relaying(installation, workers=workers) as relay:
        assert "Nieuwe voet" not in str(relay.passes(ANNA, newsletter("ervoor")).message)
        [smtp, web] = free_ports(2)
        old = installation.smtp_port
        with relay.gateway.client() as before:
            installation.change(f'submission = ["127.0.0.1:{old}"]', f'submission = ["127.0.0.1:{smtp}"]')
            installation.change(f'web = "127.0.0.1:{installation.http_port}"', f'web = "127.0.0.1:{web}"')
            own = installation.dir / "templates/acme/mail"
            own.mkdir(parents=True)
            text = (ROOT / "templates/mail/footer.txt").read_text("utf-8")
            (own / "footer.txt").write_text("Nieuwe voet\n" + text, "utf-8")
            for name, pem in zip(("cert.pem", "key.pem"), self_signed(datetime.now(UTC)), strict=True):
                (installation.dir / "tls" / name).write_bytes(pem)
            reload_all(relay, workers)
            assert before.noop()[0] == 250, "who was there stays"
        installation.smtp_port = smtp
        mail = relay.passes(ANNA, newsletter("erna"))  # by the new port, under the new certificate
        assert "Nieuwe voet" in mail.message.get_body(("plain",)).get_content()
        assert httpx.get(f"http://127.0.0.1:{web}/healthz").status_code == 200
        assert not answers(old)
        assert relay.gateway.stop() == 0


def test_a_port_that_is_taken_keeps_the_old_settings(installation: Installation) -> None:
    with relaying(installation, workers=2) as relay, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        installation.change(f'web = "127.0.0.1:{installation.http_port}"', f'web = "127.0.0.1:{port}"')
        reload(relay, "event=reload_refused")
        relay.gateway.eventually(lambda: f"listen.web: 127.0.0.1:{port} cannot be listened on" in relay.gateway.log())
        assert httpx.get(f"{installation.url}/healthz").status_code == 200
        assert "event=reloaded" not in relay.gateway.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_needs_a_restart_is_named(installation: Installation, workers: int) -> None:
    with relaying(installation, workers=workers) as relay:
        text = installation.config.read_text("utf-8")
        installation.config.write_text('node = "other.example"\n' + text, "utf-8")
        reload_all(relay, workers)
        assert relay.gateway.log().count("event=restart_needed settings=node") == 1
        installation.config.write_text(text, "utf-8")
        reload_all(relay, workers)
        assert relay.gateway.log().count("event=restart_needed") == 1


def test_a_worker_that_starts_after_a_reload_has_its_settings_and_the_counters_of_before(
    installation: Installation,
) -> None:
    with relaying(installation, workers=2) as relay:
        for n in range(6):
            relay.passes(ANNA, newsletter(f"teller {n}"))
        assert relay.kept_out(KLEED, newsletter("wijn")) == "PRODUCT_NOT_SIMILAR"
        relay.gateway.eventually(lambda: accepted(installation) == 7)
        installation.change('categories = ["wine"]\n', 'categories = ["clothing"]\n')
        reload_all(relay, 2)
        for worker in supervised(relay.gateway):
            os.kill(worker, signal.SIGKILL)
            relay.gateway.eventually(lambda gone=worker: gone not in supervised(relay.gateway))  # type: ignore[misc]
        relay.gateway.eventually(lambda: relay.gateway.log().count("event=ready") >= 4)
        relay.passes(KLEED, newsletter("kleding"))
        # whichever worker is asked; each hears of the others within a second
        relay.gateway.eventually(lambda: {accepted(installation) for _ in range(10)} == {8})
        assert metric(installation, "consentgate_workers_died_total") == 2


def metric(installation: Installation, name: str, **labels: str) -> float:
    """A sum of /metrics, asked over a connection of its own."""
    with httpx.Client() as client:
        text = client.get(f"{installation.url}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def accepted(installation: Installation) -> float:
    return metric(installation, "consentgate_messages_total", result="accepted")


def test_under_load_a_reload_refuses_nobody_and_fails_no_command(installation: Installation) -> None:
    """Two workers, four tools that connect for each message, and somebody who reloads again and again."""
    with relaying(installation, workers=2) as relay:
        relay.agree(*PEOPLE)
        over, failed, sent = threading.Event(), [], []

        def tool(number: int) -> None:
            n = 0
            while not over.is_set():
                n += 1
                try:
                    with relay.gateway.client() as session:
                        session.mail("news@acme.example")
                        session.rcpt(PEOPLE[(number * 10 + n) % len(PEOPLE)])
                        code, text = session.data(newsletter(f"l{number}-{n}"))
                        assert code == 250, text
                        sent.append(f"l{number}-{n}")
                    assert httpx.get(f"{installation.url}/healthz").status_code == 200
                except (OSError, AssertionError, smtplib.SMTPException, httpx.HTTPError) as error:
                    failed.append(repr(error))

        tools = [threading.Thread(target=tool, args=(n,), daemon=True) for n in range(4)]
        for one in tools:
            one.start()
        for _ in range(4):
            reload_all(relay, 2)
        relay.gateway.eventually(lambda: len(sent) >= 40 or bool(failed), 120)
        over.set()
        for one in tools:
            one.join(60)
        assert failed == []
        relay.upstream.until(lambda: len(relay.upstream.mails) == len(sent), 60)
        assert "event=bug" not in relay.gateway.log()
        assert relay.gateway.stop() == 0


def test_many_reloads_leave_no_memory_and_no_files_behind(installation: Installation) -> None:
    """Whatever belonged to settings of before is let go of."""
    with relaying(installation) as relay:
        relay.passes(ANNA, newsletter("warm"))
        assert relay.gateway.process is not None
        proc = Path(f"/proc/{relay.gateway.process.pid}")

        def after(times: int) -> tuple[int, int]:
            for _ in range(times):
                reload_all(relay, 1)
            resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            return resident, len(list((proc / "fd").iterdir()))

        memory, files = after(5)
        more, still = after(15)
        assert still <= files + 2
        assert more - memory < 25 << 20, f"{memory >> 20} MB after 5 reloads, {more >> 20} MB after 20"


# workers


def test_connections_of_a_campaign_are_spread_over_the_workers(installation: Installation) -> None:
    """Twenty connections that come at once, as a tool opens them: each worker has its share."""
    with relaying(installation, workers=2) as relay:
        first, second = supervised(relay.gateway)
        before = _open_sockets(first), _open_sockets(second)
        with contextlib.ExitStack() as held:
            opened = [held.enter_context(socket.socket()) for _ in range(20)]
            for one in opened:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", installation.smtp_port))
            for one in opened:
                one.setblocking(True)
                one.settimeout(30)
                assert one.recv(4) == b"220 "
            shares = [_open_sockets(pid) - was for pid, was in zip((first, second), before, strict=True)]
        assert sum(shares) == 20
        assert min(shares) >= 7, shares


def _open_sockets(pid: int) -> int:
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += str(descriptor.readlink()).startswith("socket:")
    return count


def test_p1_kill_9_of_the_supervisor_under_load_loses_nothing(installation: Installation) -> None:
    with relaying(installation, workers=2) as relay:
        relay.agree(*PEOPLE)
        pump = Pump(relay.gateway, 300)
        relay.gateway.eventually(lambda: len(pump.taken) >= 100, 120)
        assert relay.gateway.process is not None
        workers = supervised(relay.gateway)
        os.kill(relay.gateway.process.pid, signal.SIGKILL)
        relay.gateway.process.wait()
        relay.gateway.eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 60)
        relay.gateway.start("--workers", 2)
        pump.end()
        assert not pump.failed
        _all_arrived(relay, pump.taken)
        relay.drained()
        assert relay.gateway.stop() == 0


# a service manager


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A service manager that waits until it is told something; other things may be told before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def hears(line: str) -> None:
            end = time.monotonic() + 60
            while line not in heard.recv(1000).decode().splitlines():
                assert time.monotonic() < end, line

        yield hears


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_manager_is_told(
    installation: Installation, manager: Callable[[str], None], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    gateway = Gateway(installation)
    try:
        gateway.start("--workers", workers)
        manager("READY=1")
        manager("WATCHDOG=1")
        gateway.signal(signal.SIGHUP)
        manager("RELOADING=1")
        manager("READY=1")
        installation.change("[keys]", "[kees]")
        gateway.signal(signal.SIGHUP)
        manager("RELOADING=1")
        manager("READY=1")
        manager("WATCHDOG=1")
        gateway.signal(signal.SIGTERM)
        manager("STOPPING=1")
        assert gateway.stop() == 0
    finally:
        gateway.kill()
