"""Hosts that cannot be used: since when, what they said last; gone when they are well again."""

from datetime import UTC, datetime, timedelta

from gateway.store.faults import HostFault, HostNote
from tests.store.places import Place
from tests.store.test_contract import Home

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)


async def test_a_fault_keeps_its_beginning_until_the_host_is_well(place: Place) -> None:
    async with Home(place).opened() as store:
        assert await store.host_faults() == []
        await store.note_hosts([
            HostNote(route="main", host="b:25", at=NOW, stage="connect", said="connection refused"),
            HostNote(route="main", host="a:587", at=NOW, stage="greeting", code=554, said="no service"),
        ])  # fmt: skip
        await store.note_hosts([HostNote(route="main", host="a:587", at=LATER, stage="auth", code=535, said="wrong")])
        refused = HostFault(
            route="main", host="a:587", stage="auth", code=535, said="wrong", since=NOW, last_at=LATER
        )  # fmt: skip
        down = HostFault(
            route="main", host="b:25", stage="connect", code=None, said="connection refused", since=NOW, last_at=NOW
        )  # fmt: skip
        assert await store.host_faults() == [refused, down]
        await store.note_hosts(
            [HostNote(route="main", host="a:587", at=LATER), HostNote(route="x", host="b:25", at=NOW)]
        )
        assert await store.host_faults() == [down]
        await store.note_hosts([])
