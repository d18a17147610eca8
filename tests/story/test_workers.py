"""`serve --workers N`: several processes on the same sockets, as one gateway."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.installation import Make, consent, lines_of, newsletter
from tests.story.relay import fresh, on_both, one_click_url, relaying
from tests.story.test_killed import PEOPLE, Pump, _all_arrived


def children(pid: int) -> list[int]:
    """The processes a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@on_both
def test_a_worker_that_is_killed_is_replaced_and_loses_nothing(make: Make, tmp_path: Path) -> None:
    """P1 with more than one process."""
    installation = make(tmp_path / "installation")
    with relaying(installation) as relay:
        relay.agree(*PEOPLE)
        assert relay.gateway.stop() == 0
        relay.gateway.start("--workers", 2)
        assert relay.gateway.process is not None
        parent = relay.gateway.process.pid
        first = children(parent)
        assert len(first) == 2
        pump = Pump(relay.gateway, 300)
        relay.gateway.eventually(lambda: len(pump.taken) >= 100, 120)
        os.kill(first[0], signal.SIGKILL)
        relay.gateway.eventually(lambda: len(children(parent)) == 2 and first[0] not in children(parent), 60)
        pump.end()
        assert not pump.failed
        _all_arrived(relay, pump.taken)
        relay.drained()
        assert "event=worker_died" in relay.gateway.log()
        assert relay.gateway.stop() == 0


def test_workers_go_when_their_supervisor_is_killed(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    with relaying(installation) as relay:
        assert relay.gateway.stop() == 0
        relay.gateway.start("--workers", 2)
        assert relay.gateway.process is not None
        workers = children(relay.gateway.process.pid)
        os.kill(relay.gateway.process.pid, signal.SIGKILL)
        relay.gateway.process.wait()
        relay.gateway.eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)
        relay.gateway.start()  # the installation is free again
        assert relay.gateway.stop() == 0


@on_both
def test_workers_and_commands_that_write_at_once_keep_one_chain(make: Make, tmp_path: Path) -> None:
    """P7: clicks at two workers, an import and commands beside them; nothing forks, nothing is left without a place."""
    installation = make(tmp_path / "installation")
    with relaying(installation, workers=2) as relay:
        relay.agree(*PEOPLE[:12])
        relay.taken(PEOPLE[:12], newsletter("wijn"))
        relay.upstream.until(lambda: all(map(relay.upstream.to, PEOPLE[:12])))
        links = [one_click_url(relay.upstream.to(address)[0]) for address in PEOPLE[:12]]
        with ThreadPoolExecutor(6) as pool:
            rows = [consent(f"nieuw{n}@example.org") for n in range(1500)]
            importing = pool.submit(installation.load, "consents", rows)
            notes = [pool.submit(installation.tool, "ledger", "head", "--json") for _ in range(2)]
            clicks = [pool.submit(relay.one_click, link) for link in links]
            assert {one.result().status_code for one in clicks} == {200}
            assert {one.result().returncode for one in notes} == {0}
            importing.result()

        def verified() -> dict[str, Any]:
            [row] = [
                row for row in lines_of(installation.tool("ledger", "verify", "--json")) if row["controller"] == "acme"
            ]
            return row

        relay.gateway.eventually(lambda: verified()["waiting"] == 0)  # what was just written has no place yet
        result = verified()
        assert result["seq"] == result["entries"] >= 12 + 2 * 12 + 1500
        assert installation.tool("ledger", "rebuild", "--check").returncode == 0
        assert relay.gateway.stop() == 0
