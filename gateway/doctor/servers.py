"""The PostgreSQL servers behind the settings: which they are, what a commit waits for, and whether there is room."""

from collections.abc import Iterator
from typing import Final

from gateway.config import Config, Database
from gateway.doctor.finding import Finding
from gateway.store.contract import StoreUnavailable
from gateway.store.postgres_server import ServerFacts, doubts, facts_of, unfit

WORKER: Final = {"database.url": 4, "keys.database": 3}
"""Connections that a worker process keeps."""
COMMAND: Final = 3
"""And a command, while it runs."""


async def found(config: Config) -> list[Finding]:
    """What each server says of itself; nothing where the databases are files."""
    findings = []
    for setting, place in _servers(config):
        try:
            facts = await facts_of(place.url)
        except StoreUnavailable as failed:
            findings.append(Finding(check=setting, good=False, text=f"{place.name}: {failed}"))
            continue
        findings += _judged(setting, place, facts)
    return findings


def _servers(config: Config) -> Iterator[tuple[str, Database]]:
    for setting, place in (("database.url", config.database), ("keys.database", config.keys)):
        if place.file is None:
            yield setting, place


def _judged(setting: str, place: Database, facts: ServerFacts) -> Iterator[Finding]:
    standbys = f"and for {facts.synchronous_standbys}" if facts.synchronous_standbys else "and for no standby"
    text = (
        f"{place.name}: PostgreSQL {facts.version}, {'the primary' if facts.is_primary else 'a standby'}; commits wait "
        f"for its disk {standbys} (synchronous_commit = {facts.synchronous_commit}); {facts.connected} of "
        f"{facts.allowed} connections in use, {WORKER[setting]} for each worker of each node"
    )
    yield Finding(check=setting, good=True, text=text)
    if odd := unfit(facts, new=False):
        yield Finding(check=setting, good=False, text=odd)
    for doubt in doubts(facts, needed=WORKER[setting] + COMMAND, keys=setting == "keys.database"):
        yield Finding(check=setting, good=False, text=doubt)
