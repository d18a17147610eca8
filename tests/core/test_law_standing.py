"""What the ledger amounts to: withdrawals, mailings and confirmation mails as the law reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from suppression import standing
from suppression.basis import rolling_anchor
from suppression.sale import Sale
from tests.core.law_facts import consent, sale


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def told(*entries: tuple[str, dict[str, Any]]) -> standing.Document:
    document: standing.Document = {}
    for kind, fields in entries:
        document = standing.apply(document, kind, fields)
    return document


def withdrawal(at: str, purpose: str | None) -> tuple[str, dict[str, Any]]:
    return "withdrawal", {"at": at, "purpose": purpose, "ref": "r1"}


def ended(document: standing.Document) -> dict[str, datetime | None]:
    return {purpose: c.withdrawn_at for c in standing.read(document).consents for purpose in c.purposes}


def test_an_opt_out_of_one_purpose_leaves_the_others_of_the_same_record() -> None:
    both = ("consent", consent(purposes=["newsletter", "events"], given_at="2025-06-01T09:00:00Z"))
    document = told(both, withdrawal("2025-07-01T09:00:00Z", "newsletter"))
    assert ended(document) == {"newsletter": datetime(2025, 7, 1, 9, tzinfo=UTC), "events": None}


def test_an_opt_out_of_everything_ends_every_purpose_of_a_record() -> None:
    both = ("consent", consent(purposes=["newsletter", "events"], given_at="2025-06-01T09:00:00Z"))
    later, first = datetime(2025, 8, 1, 9, tzinfo=UTC), datetime(2025, 7, 1, 9, tzinfo=UTC)
    document = told(both, withdrawal(stamp(later), None), withdrawal(stamp(first), "events"))
    assert ended(document) == {"newsletter": later, "events": first}


def test_a_record_without_purposes_is_ended_by_an_opt_out_of_everything() -> None:
    nameless = ("consent", consent(purposes=[], given_at=None))
    assert standing.read(told(nameless, withdrawal("2025-07-01T09:00:00Z", "events"))).consents[0].withdrawn_at is None
    document = told(nameless, withdrawal("2025-07-01T09:00:00Z", None))
    assert standing.read(document).consents[0].withdrawn_at == datetime(2025, 7, 1, 9, tzinfo=UTC)


def test_an_undone_opt_out_leaves_what_stood_before() -> None:
    both = ("consent", consent(purposes=["newsletter", "events"], given_at="2025-06-01T09:00:00Z"))
    before = told(both)
    after = told(both, withdrawal("2025-07-01T09:00:00Z", "newsletter"), ("withdrawal_undone", {"ref": "r1"}))
    assert standing.read(after) == standing.read(before)


def test_a_consent_of_the_second_of_the_withdrawal_is_ended_and_one_of_the_next_is_not() -> None:
    for given_at, withdrawn in (("2025-07-01T09:00:00Z", True), ("2025-07-01T09:00:01Z", False)):
        document = told(("consent", consent(given_at=given_at)), withdrawal("2025-07-01T09:00:00Z", "newsletter"))
        assert (ended(document)["newsletter"] is not None) is withdrawn


def test_a_confirmation_mail_that_left_counts_for_requests_made_before_it() -> None:
    def asked(id_: str, at: str) -> tuple[str, dict[str, Any]]:
        pending = {"required": True, "requested_at": at, "confirmed_at": None, "mails_sent": 0}
        return "consent", consent(id=id_, given_at=at, double_opt_in=pending)

    sent = ("confirmation_sent", {"at": "2026-03-02T10:00:00Z", "purpose": "newsletter"})
    other = ("confirmation_sent", {"at": "2026-03-02T10:00:00Z", "purpose": "events"})
    document = told(asked("a", "2026-03-02T10:00:00Z"), sent, other, asked("b", "2026-03-02T10:00:01Z"))
    assert [c.double_opt_in.mails_sent for c in standing.read(document).consents] == [1, 0]


def test_whoever_is_only_mailed_is_not_known_and_a_request_makes_known() -> None:
    assert not standing.read(told(("mailed", {"at": "2026-03-02T10:00:00Z"}))).known
    request = {"controller_id": "acme", "received_at": "2026-03-02T10:00:00Z", "status": "open"}
    assert standing.read({"erasure_requests": [request]}).known


def rolling(sold_at: datetime, mailed: list[datetime]) -> Sale:
    return Sale.from_dict(sale(concluded_at=stamp(sold_at), marketing_sent_at=[stamp(at) for at in mailed]))


def test_a_weekly_mailing_keeps_the_window_open_for_years() -> None:
    sold = datetime(2020, 1, 10, 12, tzinfo=UTC)
    weeks = [sold + timedelta(days=7 * n) for n in range(1, 320)]
    document = told(*(("mailed", {"at": stamp(at)}) for at in weeks))
    assert len(document["mailed"]) < 20
    kept = [datetime.fromisoformat(at) for at in document["mailed"]]
    assert rolling_anchor(rolling(sold, kept), 12, weeks[-1]) == weeks[-1]


@given(
    sold=st.integers(0, 3000),
    days=st.lists(st.integers(0, 4000), max_size=40),
    now=st.integers(0, 5000),
)
def test_what_is_kept_of_the_mailings_walks_as_far_as_all_of_them(sold: int, days: list[int], now: int) -> None:
    start = datetime(2016, 2, 29, 12, tzinfo=UTC)
    all_of_them = sorted({start + timedelta(days=n) for n in days if n <= now})
    document = told(*(("mailed", {"at": stamp(at)}) for at in all_of_them))
    kept = [datetime.fromisoformat(at) for at in document.get("mailed", [])]
    at, as_of = start + timedelta(days=sold), start + timedelta(days=now)
    assert rolling_anchor(rolling(at, kept), 12, as_of) == rolling_anchor(rolling(at, all_of_them), 12, as_of)
