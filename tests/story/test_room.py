"""No room: new mail is turned away before it hurts, nothing is lost when it hurts all the same, and it ends."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.config import Config
from gateway.room import Room
from gateway.store.contract import Store, StoreUnavailable
from tests.installation import ANNA, Installation, newsletter
from tests.store.test_contract import NOW, Home, ending, stop
from tests.story.relay import fresh, load_people, one_click_url, relaying

MIB = 1 << 20


class Waiting:
    """A store in which so many copies wait."""

    def __init__(self) -> None:
        self.copies = 0

    async def waiting(self) -> int:
        return self.copies


async def test_new_mail_is_turned_away_at_the_limit_and_taken_again_well_below_it() -> None:
    limits = SimpleNamespace(free_disk_bytes=100 * MIB, queue_copies=1000)
    config = cast(Config, SimpleNamespace(limits=limits, data_folder=Path()))
    store, free = Waiting(), [500 * MIB]
    room = Room(cast(Store, store), free=lambda _folder: free[0])
    seen = []
    for octets, copies in (
        (500 * MIB, 0), (100 * MIB - 1, 0), (100 * MIB, 0), (110 * MIB, 0),
        (500 * MIB, 1000), (500 * MIB, 900), (500 * MIB, 899), (50 * MIB, 5000), (500 * MIB, 5000), (500 * MIB, 1),
    ):  # fmt: skip
        free[0], store.copies = octets, copies
        await room.look(config)
        seen.append(room.full)
    assert seen == ["", "disk", "disk", "", "copies", "copies", "", "disk", "copies", ""]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("a file system of its own needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def opted_out(home: Home, store: Store, people: int) -> None:
    for number in range(people):
        await store.opt_out(*stop(home, f"p{number}@example.org"), None)


def remounted(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


async def test_a_disk_that_is_full_refuses_everybody_and_loses_nothing(small_disk: Path) -> None:
    """P1, P5: a real file system; mail, endings and opt-outs are all told the truth, and it ends by itself."""
    home = Home(small_disk)
    async with home.opened() as store:
        kept = home.arrival("anna@example.org", "bea@example.org")
        await store.enqueue(kept)
        [first, _] = await store.claim("w1", "main", now=NOW, n=9)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.enqueue(home.arrival("cees@example.org", body=os.urandom(400_000)))
        with pytest.raises(StoreUnavailable):
            await opted_out(home, store, 200)  # a little may still fit into pages that are there
        stored = await store.message("acme", kept.message_id)
        assert stored is not None and stored.body == kept.body, "what was taken can be read"
        ballast.unlink()
        await store.finish("w1", [ending(kept, first.copy_no)])
        await store.opt_out(*stop(home, "dora@example.org"), None)
        assert (await store.people([home.who("dora@example.org")]))[0].suppressions
        assert await store.waiting() == 1


async def test_a_disk_that_is_read_only_for_a_while_is_waited_for(small_disk: Path) -> None:
    home = Home(small_disk)
    async with home.opened() as store:
        await store.enqueue(home.arrival("anna@example.org"))
    remounted(small_disk, "ro")
    with pytest.raises(StoreUnavailable):
        async with home.opened():
            pass
    remounted(small_disk, "rw")
    async with home.opened() as store:
        await store.enqueue(home.arrival("bea@example.org"))
        assert await store.waiting() == 2


def test_a_gateway_without_room_says_so_at_every_door(made: Path, tmp_path: Path) -> None:
    """452 to mail, 503 to a load balancer, and opt-outs are recorded all the same."""
    installation: Installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    with relaying(installation) as relay:
        mail = relay.passes(ANNA, newsletter("voor"))
        installation.config.write_text(f"limits.free_disk_bytes = {1 << 60}\n{installation.config.read_text()}")
        relay.gateway.process.send_signal(signal.SIGHUP)
        relay.gateway.eventually(lambda: "event=queue_refuses" in relay.gateway.log())
        code, text = relay.send(ANNA, newsletter("te vol"))
        assert (code, text.split()[0]) == (452, "4.3.1")
        base = f"http://127.0.0.1:{installation.http_port}"
        answer = relay.http("GET", f"{base}/readyz")
        assert (answer.status_code, "no room (disk)" in answer.text) == (503, True)
        assert relay.http("GET", f"{base}/healthz").status_code == 200
        assert relay.one_click(one_click_url(mail)).status_code == 200
