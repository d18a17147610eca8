"""The worker of write-back jobs on a real store that fails between one host and the next."""

import asyncio
import dataclasses
import sqlite3
import ssl
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.outbound.http_client import HttpClient
from gateway.store.contract import StoreUnavailable
from gateway.store.telling import Job, Target
from gateway.write_back import PER_HOST, WriteBack
from tests.acme import write_config
from tests.store.test_contract import NOW, Home, stop

FIRST = [Target(name=f"webhook/crm{n}", host="a.example:443") for n in range(PER_HOST)]
SECOND = Target(name="webhook/shop", host="b.example:443")


def without_controllers(folder: Path) -> Config:
    """Settings in which nobody is named who could be told: a job ends without a call."""
    return dataclasses.replace(write_config(folder), controllers={})


async def test_what_is_claimed_is_done_when_the_next_claim_fails(tmp_path: Path, monkeypatch: Any) -> None:
    home = Home(tmp_path)
    async with home.opened() as store:
        store.tell({"acme": [*FIRST, SECOND]})
        await store.record([home.consent("anna@example.org")])
        await store.opt_out(*stop(home, "anna@example.org"), None)
        claim = store.claim_write_backs

        async def full(worker: str, host: str, *, now: datetime, n: int) -> list[Job]:
            if host == SECOND.host:
                raise StoreUnavailable("disk full")
            jobs: list[Job] = await claim(worker, host, now=now, n=n)
            return jobs

        monkeypatch.setattr(store, "claim_write_backs", full)
        ended = asyncio.Semaphore(0)
        end = store.end_write_back

        async def and_tell(*args: Any) -> None:
            await end(*args)
            ended.release()

        monkeypatch.setattr(store, "end_write_back", and_tell)
        work = WriteBack(store, worker="w1", clock=lambda: NOW, believed=lambda: True)
        work.configure(without_controllers(tmp_path), HttpClient(ssl.create_default_context(), agent="t"))
        running = asyncio.create_task(work.run())
        async with asyncio.timeout(20):
            for _ in FIRST:
                await ended.acquire()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    with sqlite3.connect(home.data) as db:
        states = dict(db.execute("SELECT target, state FROM write_backs"))
    assert states == {**{one.name: "failed" for one in FIRST}, SECOND.name: "waiting"}
