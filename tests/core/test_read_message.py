"""What accept.py makes of a message before anybody is asked about its recipients."""

from pathlib import Path

import pytest

from gateway.accept import HOPS, read_message
from gateway.mail import reply
from gateway.mail.envelope import Envelope, Rcpt
from tests.acme import newsletter, write_config


def of(content: bytes) -> Envelope:
    return Envelope(
        login="newsletter", suffix=None, mail_from="news@acme.example", rcpts=(Rcpt(address="anna@example.org"),),
        content=content, body_8bit=False, smtputf8=False, ret=None, envid=None, peer_ip="127.0.0.1", helo="tool",
        tls=False,
    )  # fmt: skip


def test_a_subject_cannot_steer_the_terminal_that_shows_it(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    coded = "=?utf-8?q?=1B]0;x=07a=0D=0Ab=C2=9Bc=E2=80=AEd_=F0=9F=91=A9=E2=80=8D=F0=9F=92=BB?="
    read = read_message(of(newsletter(coded)), config.logins["newsletter"], config.controllers["acme"])
    assert read.subject == " ]0;x a  b c d \U0001f469\u200d\U0001f4bb"


@pytest.mark.parametrize(("hops", "refusal"), [(HOPS, None), (HOPS + 1, reply.MAIL_LOOP)])
def test_a_message_that_goes_round_is_stopped(tmp_path: Path, hops: int, refusal: reply.Reply | None) -> None:
    config = write_config(tmp_path)
    content = b"Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n" * hops + newsletter()
    read = read_message(of(content), config.logins["newsletter"], config.controllers["acme"])
    assert read.refusal == refusal
    assert (read.plan is None) == (refusal is not None)
