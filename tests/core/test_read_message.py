"""What accept.py makes of a message before anybody is asked about its recipients."""

from pathlib import Path

import pytest

from gateway.accept import HOPS, read_message
from gateway.mail import reply
from gateway.mail.envelope import Envelope, Rcpt
from tests.acme import newsletter, write_config


@pytest.mark.parametrize(("hops", "refusal"), [(HOPS, None), (HOPS + 1, reply.MAIL_LOOP)])
def test_a_message_that_goes_round_is_stopped(tmp_path: Path, hops: int, refusal: reply.Reply | None) -> None:
    config = write_config(tmp_path)
    envelope = Envelope(
        login="newsletter", suffix=None, mail_from="news@acme.example", rcpts=(Rcpt(address="anna@example.org"),),
        content=b"Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n" * hops + newsletter(), body_8bit=False,
        smtputf8=False, ret=None, envid=None, peer_ip="127.0.0.1", helo="tool", tls=False,
    )  # fmt: skip
    read = read_message(envelope, config.logins["newsletter"], config.controllers["acme"])
    assert read.refusal == refusal
    assert (read.plan is None) == (refusal is not None)
