"""What left is verified again: the sample is counted, and a signature that does not hold is told everywhere."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from gateway.mail import dkim
from gateway.recheck import LARGEST, Recheck, Sent, look
from tests.core.test_dkim import BODY, ED, HEAD, RSA
from tests.installation import ANNA, Installation, newsletter
from tests.story.relay import load_people, relaying, with_store

GOOD = Sent(
    copy="c/0", controller_id="acme", signers=(RSA, ED), marketing=True,
    data=(dkim.sign(HEAD, BODY, [RSA, ED], at=1) + HEAD + b"\r\n", memoryview(BODY)),
)  # fmt: skip


def test_each_key_is_judged_from_the_octets_that_left() -> None:
    names = ["cg1._domainkey.acme.example", "cg2._domainkey.acme.example"]
    assert look(GOOD) == [(name, "") for name in names]
    broken = dataclasses.replace(GOOD, data=(bytes(GOOD.data[0]), b"other\r\n"))
    assert [why for _, why in look(broken)] == ["the body was changed after it was signed"] * 2
    alone = dkim.sign(HEAD, BODY, [RSA], at=1) + HEAD + b"\r\n" + BODY
    assert look(dataclasses.replace(GOOD, data=(alone,)))[1] == (names[1], "the copy bears no signature of this key")
    bare = dkim.sign(HEAD, BODY, [RSA, ED], at=1, omit=frozenset({b"list-unsubscribe-post"})) + HEAD + b"\r\n" + BODY
    assert look(dataclasses.replace(GOOD, data=(bare,)))[0] == (names[0], "list-unsubscribe-post is not signed")
    assert look(dataclasses.replace(GOOD, data=(bare,), marketing=False))[0] == (names[0], "")


@pytest.mark.parametrize(("one_in", "looked_at"), [(1, 6), (3, 2), (1000, 1)])
async def test_one_in_so_many_is_looked_at_and_never_two_at_once(one_in: int, looked_at: int) -> None:
    with ThreadPoolExecutor(1) as threads:
        recheck = Recheck(threads, clock=lambda: datetime(2026, 11, 22, tzinfo=UTC))
        recheck.configure(one_in)
        for _ in range(6):
            recheck.sent(GOOD)
            busy = recheck._busy
            recheck.sent(dataclasses.replace(GOOD, signers=()))  # the provider signs: nothing to look at
            if busy is not None:
                await busy
        notes = recheck.take()
        assert len(notes) == 2 * looked_at and recheck.take() == []
        recheck.configure(1)
        recheck.sent(dataclasses.replace(GOOD, data=(bytes(LARGEST + 1),)))
        assert recheck._busy is None
        recheck.put_back(notes[:1])
        assert recheck.take() == notes[:1]


def test_a_running_gateway_counts_its_sample(installation: Installation) -> None:
    load_people(installation)
    installation.config.write_text(installation.config.read_text() + "\n[dkim]\nverify_one_in = 1\n")
    with relaying(installation) as relay:
        relay.passes(ANNA, newsletter("goed"))
        metrics = f"http://127.0.0.1:{installation.http_port}/metrics"
        relay.gateway.eventually(
            lambda: 'signature_checks_total{result="good"} 2.0' in httpx.get(metrics).text
        )  # fmt: skip
        assert relay.gateway.stop() == 0  # what was found is written down before it ends
    rows = with_store(installation, lambda store, config: store.checks("acme"))
    assert [(row.name, row.checked, row.failed) for row in rows] == [
        ("cg1._domainkey.acme.example", 1, 0), ("cg1e._domainkey.acme.example", 1, 0),
    ]  # fmt: skip
    said = installation.tool("doctor").stdout.decode()
    assert "signature cg1._domainkey.acme.example: 1 checked, 0 failed" in said
