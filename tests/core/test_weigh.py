"""Facts as they are laid before the law: what the clocks of several machines make of an opt-out."""

from dataclasses import replace
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
