"""`serve --workers N`: several processes on the same sockets, as one gateway."""

import os
import signal
from pathlib import Path

from tests.story.relay import fresh, relaying
from tests.story.test_killed import PEOPLE, Pump, _all_arrived


def children(pid: int) -> list[int]:
    """The processes a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_is_killed_is_replaced_and_loses_nothing(made: Path, tmp_path: Path) -> None:
    """P1 with more than one process."""
    installation = fresh(made, tmp_path / "installation")
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
