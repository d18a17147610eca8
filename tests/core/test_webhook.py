"""A webhook is signed as the specification has it, and the reader in the documentation accepts it and nothing else."""

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.dialogue import Answer, Verdict, as_json
from gateway.tools.webhook import secret_of, signature, tell
from tests.installation import ROOT

SECRET, OTHER = "whsec_" + base64.b64encode(b"a" * 24).decode(), "whsec_" + base64.b64encode(b"b" * 64).decode()
CONTENT = {"type": "opt_out.recorded", "timestamp": "2026-11-21T10:00:00Z", "data": {"address": "anna@example.org"}}


@pytest.fixture(scope="module")
def read() -> Any:
    """The receiver's function, out of the page that tells how to write one."""
    [code] = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs/write-back.md").read_text("utf-8"))
    names: dict[str, Any] = {}
    exec(code, names)
    return names["read"]


def asked(secrets: list[str], timestamp: int = 1_790_000_000) -> tuple[dict[str, str], bytes]:
    dialogue = tell(
        "https://crm.example/", [secret_of(one) for one in secrets], message_id="msg_1", timestamp=timestamp,
        content=CONTENT,
    )  # fmt: skip
    request = next(dialogue)
    with pytest.raises(StopIteration) as over:
        dialogue.send(Answer(status=204))
    assert over.value.value == Verdict(outcome="done", note="204")
    return {name.lower(): value for name, value in request.headers}, request.body


def test_the_signature_is_that_of_the_specification() -> None:
    """A message and its signature as the reference libraries test theirs."""
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_reader_of_the_documentation_takes_what_is_signed_by_either_secret(read: Any) -> None:
    headers, body = asked([SECRET, OTHER])
    for known in ([SECRET], [OTHER], [OTHER, SECRET]):
        assert read(headers, body, known, now=1_790_000_100) == CONTENT


def test_and_nothing_else(read: Any) -> None:
    headers, body = asked([SECRET])
    for changed, told, known, now in (
        ({}, body, [OTHER], 1_790_000_000),
        ({}, body + b" ", [SECRET], 1_790_000_000),
        ({"webhook-id": "msg_2"}, body, [SECRET], 1_790_000_000),
        ({"webhook-timestamp": "1790000001"}, body, [SECRET], 1_790_000_000),
        ({}, body, [SECRET], 1_790_000_301),
        ({"webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")}, body, [SECRET], 1_790_000_000),
    ):
        with pytest.raises(ValueError):
            read({**headers, **changed}, told, known, now=now)


@given(st.dictionaries(st.text(), st.text()), st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=2))
def test_whatever_is_told_is_read_again(content: dict[str, str], secrets: list[bytes]) -> None:
    request = next(tell("https://crm.example/", secrets, message_id="msg_1", timestamp=1, content=content))
    headers = dict(request.headers)
    assert request.body == as_json(content)
    assert headers["webhook-signature"] == signature(secrets, "msg_1", 1, request.body)


@pytest.mark.parametrize("wrong", ["", "geheim", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "whsec_" + "QUFB" * 30])
def test_what_is_no_secret_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):
        secret_of(wrong)
