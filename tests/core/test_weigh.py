"""Facts as they are laid before the law: what the clocks of several machines make of an opt-out."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.weigh import CLOCKS_APART, Case, Scales, stranger
from suppression.suppression_list import Suppression
from tests.acme import write_config

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
MAIL = Case(
    message_class="marketing", promotional=False, purpose="newsletter", categories=(), transaction_ref=False,
    restriction_exemption=None, unsubscribe="present", from_domain="acme.example",
)  # fmt: skip


def test_what_a_message_is_survives_the_way_to_json_and_back() -> None:
    case = replace(MAIL, categories=("wine", "spirits"), matched=("login",), signs=("korting",), handling="hold")
    stored = json.loads(json.dumps(case.to_json()))
    assert set(stored) == {field.name for field in fields(Case)}
    assert Case.from_json(stored) == case


@pytest.mark.parametrize(
    ("ahead", "counts"),
    [
        (timedelta(hours=-1), True),
        (timedelta(0), True),
        (timedelta(seconds=5), True),
        (timedelta(hours=2), True),
        (CLOCKS_APART, True),
        (CLOCKS_APART + timedelta(seconds=1), False),
    ],
)
def test_an_opt_out_counts_though_the_clock_that_wrote_it_was_ahead(
    tmp_path: Path, ahead: timedelta, counts: bool
) -> None:
    """P3: no MAIL FROM later than a second after it, on any node, and after a clock was set back."""
    config = write_config(tmp_path)
    acme = config.controllers["acme"]
    weigh = Scales(config, frozenset({("acme", "acme.example")})).lay(MAIL, acme, acme.streams["newsletter"])
    entry = Suppression(
        scope="global", controller_id=None, purpose=None, reason="objection", at=NOW + ahead, lifted_at=None
    )
    ruling = weigh(replace(stranger("acme", bytes(16)), suppressions=(entry,)), NOW)
    assert (ruling.decision.reason_code == "OBJECTED_TO_MARKETING") == counts
    assert ruling.decision.verdict == "block"
