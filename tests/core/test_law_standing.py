"""What the ledger amounts to: withdrawals, mailings and confirmation mails as the law reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from suppression import standing
from suppression.basis import rolling_anchor
from suppression.ledger import CONTROLLER_KINDS, encode
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


# acts of the rule book


def requested(**changes: Any) -> tuple[str, dict[str, Any]]:
    pending = {"required": True, "requested_at": "2026-03-02T10:00:00Z", "confirmed_at": None, "mails_sent": 0}
    return "opt_in_requested", consent(given_at="2026-03-02T10:00:00Z", double_opt_in=pending, **changes)


def test_a_request_is_a_consent_that_waits_and_the_first_confirmation_puts_it_in_force() -> None:
    first = ("opt_in_confirmed", {"id": "c1", "at": "2026-03-02T11:00:00Z"})
    again = ("opt_in_confirmed", {"id": "c1", "at": "2026-03-03T11:00:00Z"})
    document = told(requested(id="c1"), requested(id="c2"))
    assert [c.double_opt_in.confirmed_at for c in standing.read(document).consents] == [None, None]
    confirmed = told(requested(id="c1"), requested(id="c2"), first)
    assert [c.double_opt_in.confirmed_at for c in standing.read(confirmed).consents] == [
        datetime(2026, 3, 2, 11, tzinfo=UTC), None,
    ]  # fmt: skip
    assert standing.apply(confirmed, *again) == confirmed
    assert standing.apply(document, "opt_in_confirmed", {"id": "nobody's", "at": "2026-03-02T11:00:00Z"}) == document


def test_objections_and_complaints_end_consents_as_withdrawals_do() -> None:
    fields = {"at": "2025-07-01T09:00:00Z", "purpose": None, "ref": "r1"}
    both = ("consent", consent(purposes=["newsletter", "events"], given_at="2025-06-01T09:00:00Z"))
    by_kind = {kind: told(both, (kind, fields)) for kind in ("withdrawal", "objection", "complaint")}
    assert by_kind["objection"] == by_kind["complaint"] == by_kind["withdrawal"] != told(both)
    undone = ("withdrawal_undone", {"ref": "r1"})
    assert standing.read(told(both, ("objection", fields), undone)) == standing.read(told(both))


def test_a_restriction_holds_until_it_is_lifted_and_the_first_lift_counts() -> None:
    made = {"ref": "r1", "controller_id": "acme", "scope": "all", "purpose": None, "from": "2026-03-02T10:00:00Z"}
    lift = ("restriction_lifted", {"ref": "r1", "at": "2026-04-02T10:00:00Z"})
    later = ("restriction_lifted", {"ref": "r1", "at": "2026-05-02T10:00:00Z"})
    other = ("restriction_lifted", {"ref": "r2", "at": "2026-03-03T10:00:00Z"})
    (held,) = standing.read(told(("restriction", made), other)).restrictions
    assert (held.scope, held.lifted_at) == ("all", None)
    lifted = told(("restriction", made), lift, later, ("restriction", made))
    assert [one.lifted_at for one in standing.read(lifted).restrictions] == [datetime(2026, 4, 2, 10, tzinfo=UTC)]


def test_a_rectification_replaces_facts_and_takes_back_what_is_not_known() -> None:
    said = ("person", {"kind": "natural_person", "birth_date": "1990-01-01", "country": "BE", "language": "fr"})
    right = {"changed": {"birth_date": "1991-01-01", "country": "NL", "language": None, "name": "Anna"}, "was": {}}
    stands = standing.read(told(said, ("rectification", right)))
    assert (str(stands.recipient.birth_date), stands.country, stands.language) == ("1991-01-01", "NL", None)
    unknown = standing.read(told(said, ("rectification", {"changed": {"kind": None}, "was": {}})))
    assert unknown.recipient.kind == "unknown"


def test_a_request_for_erasure_is_open_until_it_is_answered() -> None:
    asked = {"ref": "q", "controller_id": "acme", "received_at": "2026-03-02T10:00:00Z", "status": "open"}
    document = told(("erasure_request", asked), ("erasure_request", {**asked, "status": "refused"}))
    assert [one.status for one in standing.read(document).erasure_requests] == ["refused"]


def test_entries_of_the_controller_change_no_standing() -> None:
    document = told(requested(id="c1"))
    for kind in CONTROLLER_KINDS:
        assert standing.apply(document, kind, {"act": "x", "id": "c1", "at": "2026-03-02T10:00:00Z"}) == document


refs = st.sampled_from(["r1", "r2"])
times = st.integers(0, 60_000_000).map(lambda seconds: stamp(datetime(2025, 1, 1, tzinfo=UTC) + timedelta(0, seconds)))
acts = st.one_of(
    st.tuples(st.just("consent"), st.builds(lambda i, at: consent(id=i, given_at=at), refs, times)),
    st.builds(lambda i: requested(id=i), refs),
    st.tuples(st.just("opt_in_confirmed"), st.fixed_dictionaries({"id": refs, "at": times})),
    st.tuples(st.just("sale"), st.builds(lambda i, at: sale(id=i, concluded_at=at), refs, times)),
    st.tuples(
        st.sampled_from(["withdrawal", "objection", "complaint"]),
        st.fixed_dictionaries({"ref": refs, "at": times, "purpose": st.sampled_from([None, "newsletter", "events"])}),
    ),
    st.tuples(st.just("withdrawal_undone"), st.fixed_dictionaries({"ref": refs})),
    st.tuples(
        st.just("restriction"),
        st.fixed_dictionaries(
            {
                "ref": refs,
                "controller_id": st.just("acme"),
                "scope": st.just("all"),
                "purpose": st.none(),
                "from": times,
            }
        ),
    ),
    st.tuples(st.just("restriction_lifted"), st.fixed_dictionaries({"ref": refs, "at": times})),
    st.tuples(
        st.just("rectification"),
        st.fixed_dictionaries(
            {"changed": st.dictionaries(st.sampled_from(["country", "language", "birth_date"]), st.none(), max_size=2)}
        ),
    ),
    st.tuples(st.just("undeliverable"), st.just({"undeliverable": True})),
    st.tuples(st.sampled_from(["mailed"]), st.fixed_dictionaries({"at": times})),
    st.tuples(st.just("looked_at"), st.just({"by": "somebody"})),
    st.tuples(st.just("notice_queued"), st.just({"notice": "stopped", "refs": []})),
)


@given(st.lists(acts, max_size=25))
def test_any_order_of_acts_can_be_read_and_no_entry_changes_the_document_before_it(
    entries: list[tuple[str, dict[str, Any]]],
) -> None:
    """P7: each step makes a new document, which is stored and read again before the next one."""
    document: standing.Document = {}
    for kind, fields in entries:
        kept = standing.dump(document)
        after = standing.apply(document, kind, fields)
        assert standing.dump(document) == kept
        document = standing.load(standing.dump(after))
        assert document == after
        standing.read(document)
    assert document == told(*entries)


@given(st.lists(st.tuples(st.sampled_from(["consent", "sale"]), st.integers(0, 3), st.text(max_size=6)), max_size=5))
def test_a_record_as_json_opens_and_is_found_in_a_standing_as_its_values_are(
    records: list[tuple[str, int, str]],
) -> None:
    """What an import does with bytes is what `apply` does with values."""
    document: standing.Document = {}
    for kind, number, text in records:
        fields = consent(id=f"r{number}", purposes=[text]) if kind == "consent" else sale(id=f"r{number}")
        after = standing.apply(document, kind, fields)
        plain = encode(fields)
        if not document:
            opened = standing.opening(kind, plain)
            assert opened is not None and standing.load(opened) == after
        if standing.holds(standing.dump(document), plain):
            assert after == document
        document = after
        named = [record for record in document[kind + "s"] if record == fields]
        assert not named or standing.holds(encode(document), plain)
    assert standing.opening("person", b"{}") is None
