"""Boundaries of each rule: exact instants and dates, several records, several packs, missing parts. Rows by rule id."""

from typing import Any

import pytest

from tests.core.law_facts import base, code, consent, judged, restriction, suppression

OTHER = "sister"
TRANSACTION = {
    "message.class": "transactional", "message.promotional_content": False, "message.transaction_ref_present": True,
}  # fmt: skip
NOTICE = {"message.class": "mandatory_notice", "message.promotional_content": False}
DOI = {"message.class": "doi_confirmation", "message.promotional_content": False}


def asked(**changes: Any) -> dict[str, Any]:
    """A consent that waits for its confirmation, asked for one hour ago."""
    waiting = {
        "double_opt_in": {
            "required": True, "requested_at": "2026-03-02T09:00:00Z", "confirmed_at": None, "mails_sent": 0,
        },
        "given_at": "2026-03-02T09:00:00Z",
    }  # fmt: skip
    return consent(**(waiting | changes))


def with_doi(**changes: Any) -> dict[str, Any]:
    """The double opt-in part of a consent."""
    return {"required": True, "requested_at": "2026-03-02T09:00:00Z", "confirmed_at": None, "mails_sent": 0} | changes


STAGE_A = {
    "A1 before A2": (base(stores_available=False, recipient__address_valid=False), "EVIDENCE_STORE_UNAVAILABLE"),
    "A1 a notice too": (base(stores_available=False, **NOTICE), "EVIDENCE_STORE_UNAVAILABLE"),
    "A2 before A3": (base(recipient__address_valid=False, sender__principal_authorised=False), "RECIPIENT_INVALID"),
    "A3 before A4": (
        base(sender__principal_authorised=False, **{"message.class": "unknown"}), "SENDER_NOT_AUTHORISED",
    ),
    "A4 declared class counts, promoting or not": (
        base(**{"message.class": "unknown", "message.promotional_content": True}), "UNCLASSIFIED_MESSAGE",
    ),
    "A4 before A5": (
        base(**{"message.class": "unknown", "recipient.undeliverable": True}), "UNCLASSIFIED_MESSAGE",
    ),
    "A5 a notice too": (base(recipient__undeliverable=True, **NOTICE), "ADDRESS_UNDELIVERABLE"),
    "A6 starts at its instant": (
        base(consents=[consent()], restrictions=[restriction(**{"from": "2026-03-02T10:00:00Z"})]),
        "PROCESSING_RESTRICTED",
    ),
    "A6 not a second before": (
        base(consents=[consent()], restrictions=[restriction(**{"from": "2026-03-02T10:00:01Z"})]), "ALLOW_OPT_IN",
    ),
    "A6 lifted at its instant": (
        base(consents=[consent()], restrictions=[restriction(lifted_at="2026-03-02T10:00:00Z")]), "ALLOW_OPT_IN",
    ),
    "A6 lifted a second later": (
        base(consents=[consent()], restrictions=[restriction(lifted_at="2026-03-02T10:00:01Z")]),
        "PROCESSING_RESTRICTED",
    ),
    "A6 other controller": (
        base(consents=[consent()], restrictions=[restriction(controller_id=OTHER)]), "ALLOW_OPT_IN",
    ),
    "A6 marketing scope leaves transactional mail": (
        base(restrictions=[restriction(scope="marketing")], **TRANSACTION), "ALLOW_TRANSACTIONAL",
    ),
    "A6 marketing scope stops an invoice with an offer": (
        base(restrictions=[restriction(scope="marketing")], **(TRANSACTION | {"message.promotional_content": True})),
        "PROCESSING_RESTRICTED",
    ),
    "A6 purpose scope stops its purpose, transactional too": (
        base(restrictions=[restriction(scope="purpose", purpose="newsletter")], **TRANSACTION),
        "PROCESSING_RESTRICTED",
    ),
    "A6 purpose scope leaves another purpose": (
        base(consents=[consent()], restrictions=[restriction(scope="purpose", purpose="events")]), "ALLOW_OPT_IN",
    ),
    "A6 purpose scope without purpose stops every purpose": (
        base(consents=[consent()], restrictions=[restriction(scope="purpose")]), "PROCESSING_RESTRICTED",
    ),
    "A6 a message without purpose meets no named purpose": (
        base(
            restrictions=[restriction(scope="purpose", purpose="newsletter")],
            **(TRANSACTION | {"message.purpose": None}),
        ),
        "ALLOW_TRANSACTIONAL",
    ),
    "A6 a notice is exempt": (base(restrictions=[restriction()], **NOTICE), "ALLOW_MANDATORY_NOTICE"),
    "A6 a notice with an offer is not": (
        base(restrictions=[restriction()], **(NOTICE | {"message.promotional_content": True})),
        "PROCESSING_RESTRICTED",
    ),
    "A6 an exemption never helps marketing": (
        base(consents=[consent()], restrictions=[restriction()], message__restriction_exemption="legal_claims"),
        "PROCESSING_RESTRICTED",
    ),
    "A6 an exemption helps what is not marketing": (
        base(restrictions=[restriction()], message__restriction_exemption="public_interest", **TRANSACTION),
        "ALLOW_TRANSACTIONAL",
    ),
}  # fmt: skip

STAGE_B = {
    "B1 suppressions do not matter": (
        base(suppressions=[suppression(scope="global", controller_id=None)], **NOTICE), "ALLOW_MANDATORY_NOTICE",
    ),
    "B2 erasure does not matter": (
        base(
            erasure_requests=[{"controller_id": "acme", "received_at": "2026-01-01T00:00:00Z", "status": "open"}],
            **TRANSACTION,
        ),
        "ALLOW_TRANSACTIONAL",
    ),
    "B2 no duty of marketing": (
        base(**(TRANSACTION | {"infrastructure.dkim_ready": False})), "ALLOW_TRANSACTIONAL",
    ),
    "B3": (base(**(TRANSACTION | {"message.transaction_ref_present": False})), "TRANSACTIONAL_WITHOUT_BASIS"),
    "B4 a reference is no request": (
        base(message__transaction_ref_present=True, **DOI), "DOI_NOT_REQUESTED",
    ),
    "B4 not required": (base(consents=[asked(double_opt_in=with_doi(required=False))], **DOI), "DOI_NOT_REQUESTED"),
    "B4 not requested": (
        base(consents=[asked(double_opt_in=with_doi(requested_at=None))], **DOI), "DOI_NOT_REQUESTED",
    ),
    "B4 requested in the future": (
        base(consents=[asked(double_opt_in=with_doi(requested_at="2026-03-02T10:00:01Z"))], **DOI),
        "DOI_NOT_REQUESTED",
    ),
    "B4 confirmed": (
        base(consents=[asked(double_opt_in=with_doi(confirmed_at="2026-03-02T10:00:00Z"))], **DOI),
        "DOI_NOT_REQUESTED",
    ),
    "B4 confirmed in the future counts as not": (
        base(consents=[asked(double_opt_in=with_doi(confirmed_at="2026-03-02T10:00:01Z"))], **DOI),
        "ALLOW_DOI_CONFIRMATION",
    ),
    "B4 withdrawn": (base(consents=[asked(withdrawn_at="2026-03-02T10:00:00Z")], **DOI), "DOI_NOT_REQUESTED"),
    "B4 withdrawn in the future counts as not": (
        base(consents=[asked(withdrawn_at="2026-03-02T10:00:01Z")], **DOI), "ALLOW_DOI_CONFIRMATION",
    ),
    "B4 other purpose": (base(consents=[asked(purposes=["events"])], **DOI), "DOI_NOT_REQUESTED"),
    "B4 message without purpose": (
        base(consents=[asked()], **(DOI | {"message.purpose": None})), "DOI_NOT_REQUESTED",
    ),
    "B4 other controller": (base(consents=[asked(controller_id=OTHER)], **DOI), "DOI_NOT_REQUESTED"),
    "B4 the latest request counts": (
        base(
            consents=[
                asked(id="old", double_opt_in=with_doi(requested_at="2026-02-01T00:00:00Z", mails_sent=1)),
                asked(id="new"),
            ],
            **DOI,
        ),
        "ALLOW_DOI_CONFIRMATION",
    ),
    "B4 the latest request counts, against too": (
        base(
            consents=[
                asked(id="new", double_opt_in=with_doi(mails_sent=1)),
                asked(id="old", double_opt_in=with_doi(requested_at="2026-03-02T08:00:00Z")),
            ],
            **DOI,
        ),
        "DOI_ALREADY_SENT",
    ),
    "B5 a sender entry before the request gives way": (
        base(consents=[asked()], suppressions=[suppression(at="2026-03-02T09:00:00Z")], **DOI),
        "ALLOW_DOI_CONFIRMATION",
    ),
    "B5 later than the request": (
        base(consents=[asked()], suppressions=[suppression(at="2026-03-02T09:00:01Z", reason="complaint")], **DOI),
        "COMPLAINT_RECEIVED",
    ),
    "B5 global, however old": (
        base(
            consents=[asked()],
            suppressions=[suppression(scope="global", controller_id=None, at="2020-01-01T00:00:00Z")],
            **DOI,
        ),
        "SUPPRESSED_GLOBAL",
    ),
    "B5 an old erasure does not outrank the later entry that stops": (
        base(
            consents=[asked()],
            suppressions=[
                suppression(reason="erasure"),
                suppression(scope="purpose", purpose="newsletter", at="2026-03-02T09:30:00Z"),
            ],
            **DOI,
        ),
        "SUPPRESSED_PURPOSE",
    ),
    "B5 other purpose": (
        base(
            consents=[asked()],
            suppressions=[suppression(scope="purpose", purpose="events", at="2026-03-02T09:30:00Z")],
            **DOI,
        ),
        "ALLOW_DOI_CONFIRMATION",
    ),
    "B6": (base(consents=[asked(double_opt_in=with_doi(mails_sent=1))], **DOI), "DOI_ALREADY_SENT"),
    "B6 before B7": (
        base(consents=[asked(double_opt_in=with_doi(requested_at="2026-01-01T00:00:00Z", mails_sent=1))], **DOI),
        "DOI_ALREADY_SENT",
    ),
    "B7 168 hours to the second": (
        base(consents=[asked(double_opt_in=with_doi(requested_at="2026-02-23T10:00:00Z"))], **DOI),
        "ALLOW_DOI_CONFIRMATION",
    ),
    "B7 a second more": (
        base(consents=[asked(double_opt_in=with_doi(requested_at="2026-02-23T09:59:59Z"))], **DOI), "DOI_EXPIRED",
    ),
    "B8 with an offer it is marketing": (
        base(consents=[asked()], **(DOI | {"message.promotional_content": True})), "OPT_IN_PENDING_CONFIRMATION",
    ),
}  # fmt: skip


def _stopped(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return base(consents=[consent()], suppressions=list(entries), **changes)


GLOBAL = {"scope": "global", "controller_id": None}
STAGE_C = {
    "C1 starts at its instant": (_stopped(suppression(at="2026-03-02T10:00:00Z")), "SUPPRESSED_SENDER"),
    "C1 not a second before": (_stopped(suppression(at="2026-03-02T10:00:01Z")), "ALLOW_OPT_IN"),
    "C1 lifted at its instant": (_stopped(suppression(lifted_at="2026-03-02T10:00:00Z")), "ALLOW_OPT_IN"),
    "C1 a pause that still runs": (
        _stopped(suppression(scope="purpose", purpose="newsletter", lifted_at="2026-03-02T10:00:01Z")),
        "SUPPRESSED_PURPOSE",
    ),
    "C1 a newer consent does not beat it": (
        base(consents=[consent(given_at="2026-03-01T00:00:00Z")], suppressions=[suppression()]), "SUPPRESSED_SENDER",
    ),
    "C1 no controller covers every one": (_stopped(suppression(controller_id=None)), "SUPPRESSED_SENDER"),
    "C1 no controller, this purpose": (
        _stopped(suppression(scope="purpose", controller_id=None, purpose="newsletter")), "SUPPRESSED_PURPOSE",
    ),
    "C1 no purpose covers every one": (_stopped(suppression(scope="purpose")), "SUPPRESSED_PURPOSE"),
    "C1 no purpose covers a message without": (
        _stopped(suppression(scope="purpose"), message__purpose=None), "SUPPRESSED_PURPOSE",
    ),
    "C1 a message without purpose meets no named one": (
        _stopped(suppression(scope="purpose", purpose="newsletter"), message__purpose=None), "PURPOSE_MISSING",
    ),
    "C1 a sender entry ignores its purpose": (_stopped(suppression(purpose="events")), "SUPPRESSED_SENDER"),
    "C1 scope before reason": (
        _stopped(suppression(reason="erasure"), suppression(**GLOBAL, reason="admin")), "SUPPRESSED_GLOBAL",
    ),
    "C1 erasure before objection": (
        _stopped(suppression(reason="objection"), suppression(reason="erasure")), "ERASED_DO_NOT_CONTACT",
    ),
    "C1 objection before complaint": (
        _stopped(suppression(reason="complaint"), suppression(reason="objection")), "OBJECTED_TO_MARKETING",
    ),
    "C1 complaint before unsubscribe": (
        _stopped(suppression(), suppression(reason="complaint")), "COMPLAINT_RECEIVED",
    ),
    "C1 admin by scope": (_stopped(suppression(reason="admin")), "SUPPRESSED_SENDER"),
    "C1 a lifted one does not speak": (
        _stopped(
            suppression(**GLOBAL, lifted_at="2026-02-01T00:00:00Z"), suppression(scope="purpose", purpose="newsletter"),
        ),
        "SUPPRESSED_PURPOSE",
    ),
    "C1 a consent request is marketing": (
        _stopped(suppression(), **{"message.class": "consent_request", "message.promotional_content": False}),
        "SUPPRESSED_SENDER",
    ),
    "C2 from its instant": (
        base(
            consents=[consent()],
            erasure_requests=[{"controller_id": "acme", "received_at": "2026-03-02T10:00:00Z", "status": "open"}],
        ),
        "ERASURE_PENDING",
    ),
    "C2 not before": (
        base(
            consents=[consent()],
            erasure_requests=[{"controller_id": "acme", "received_at": "2026-03-02T10:00:01Z", "status": "open"}],
        ),
        "ALLOW_OPT_IN",
    ),
    "C2 other controller, refused, completed": (
        base(
            consents=[consent()],
            erasure_requests=[
                {"controller_id": OTHER, "received_at": "2026-01-01T00:00:00Z", "status": "open"},
                {"controller_id": "acme", "received_at": "2026-01-01T00:00:00Z", "status": "refused"},
                {"controller_id": "acme", "received_at": "2026-01-01T00:00:00Z", "status": "completed"},
            ],
        ),
        "ALLOW_OPT_IN",
    ),
    "C2 before C3": (
        base(
            message__purpose=None,
            erasure_requests=[{"controller_id": "acme", "received_at": "2026-01-01T00:00:00Z", "status": "open"}],
        ),
        "ERASURE_PENDING",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "wanted"), STAGE_A.values(), ids=STAGE_A)
def test_stage_a(facts: dict[str, Any], wanted: str) -> None:
    assert code(facts) == wanted


@pytest.mark.parametrize(("facts", "wanted"), STAGE_B.values(), ids=STAGE_B)
def test_stage_b(facts: dict[str, Any], wanted: str) -> None:
    assert code(facts) == wanted


@pytest.mark.parametrize(("facts", "wanted"), STAGE_C.values(), ids=STAGE_C)
def test_stage_c(facts: dict[str, Any], wanted: str) -> None:
    assert code(facts) == wanted


def test_the_trace_names_the_rows_looked_at_in_order() -> None:
    allowed = judged(base(consents=[consent()]))
    assert allowed.trace == (
        "A1", "A2", "A3", "A4", "A5", "A6", "C1", "C2", "C3", "D1:NL",
        "E1:NL", "E2:NL", "E3:NL", "E4:NL", "E5:NL", "E6:NL", "F", "G",
    )  # fmt: skip
    assert judged(base(suppressions=[suppression()])).trace[-1] == "C1"
    assert judged(base(**NOTICE)).trace == ("A1", "A2", "A3", "A4", "A5", "A6", "B1")
