"""Facts as they are laid before the law: what the clocks of several machines make of an opt-out."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.weigh import Case, Scales, stranger
from suppression.consent import Consent
from suppression.restriction import ErasureRequest, Restriction
from suppression.suppression_list import Suppression
from tests.acme import write_config
from tests.core.law_facts import consent

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


AHEAD = [timedelta(hours=-1), timedelta(0), timedelta(seconds=5), timedelta(hours=2), timedelta(days=365)]


@pytest.mark.parametrize("ahead", AHEAD)
def test_who_said_no_is_not_mailed_though_the_clock_that_wrote_it_was_ahead(tmp_path: Path, ahead: timedelta) -> None:
    """P3: no MAIL FROM later than a second after it, on any node, and after a clock was set back, however far."""
    config = write_config(tmp_path)
    acme = config.controllers["acme"]
    weigh = Scales(config, frozenset({("acme", "acme.example")})).lay(MAIL, acme, acme.streams["newsletter"])
    at = NOW + ahead
    said_no = Suppression(
        scope="global", controller_id=None, purpose=None, reason="objection", at=at, lifted_at=None
    )  # fmt: skip
    restricted = Restriction(controller_id="acme", scope="all", purpose=None, since=at, lifted_at=None)
    to_erase = ErasureRequest(controller_id="acme", received_at=at, status="open")
    consented = Consent.from_dict(consent(withdrawn_at=None))
    nobody = stranger("acme", bytes(16))

    def code(**of_standing: Any) -> str:
        person = replace(nobody, standing=replace(nobody.standing, **of_standing))
        return weigh(person, NOW).decision.reason_code

    assert weigh(replace(nobody, suppressions=(said_no,)), NOW).decision.reason_code == "OBJECTED_TO_MARKETING"
    assert code(consents=(consented,)) == "SENDER_IDENTITY_CONCEALED", (
        "nothing is said against it: only a key is missing"
    )
    assert code(consents=(consented,), restrictions=(restricted,)) == "PROCESSING_RESTRICTED"
    assert code(consents=(consented,), erasure_requests=(to_erase,)) == "ERASURE_PENDING"
    assert code(consents=(replace(consented, withdrawn_at=at),)) == "CONSENT_WITHDRAWN"
