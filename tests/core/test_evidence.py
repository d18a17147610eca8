"""What proves a consent: wordings, grades, and the count over a list, as values."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppression import standing
from suppression.consent import Consent, DoubleOptIn, Evidence
from suppression.evidence import NAME_LENGTH, WORDING_BYTES, Choice, Wording, WordingError, grade
from suppression.fields import FactsError
from suppression.proof_meter import MOST_NAMES, OTHERS, Meter, weakest
from tests.core import law_strategies

SIGN_UP: dict[str, Any] = {
    "name": "form-1", "language": "nl", "layout": "<form>...</form>", "layout_type": "text/html",
    "choices": (Choice(purpose="newsletter", text="Ja, mail mij", ticked=False),), "notice_version": "p3",
    "notice_url": "https://acme.example/privacy",
}  # fmt: skip

consents = law_strategies.consent.map(Consent.from_dict)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
said = texts.filter(str.strip)
wordings = st.builds(
    Wording,
    name=st.from_regex(r"[a-z0-9][a-z0-9 ._-]{0,20}[a-z0-9]", fullmatch=True),
    language=st.none() | st.sampled_from(["nl", "fr-BE"]),
    choices=st.lists(
        st.builds(Choice, purpose=st.none() | said, text=texts, ticked=st.none() | st.booleans()), max_size=3
    ).map(tuple),
    layout=said,
    layout_type=st.sampled_from(["text/plain", "text/html"]),
    notice_version=st.none() | said,
    notice_url=st.none() | said,
)


@given(wordings)
def test_a_wording_comes_back_from_the_bytes_that_are_kept(wording: Wording) -> None:
    """Invariant: content and name are the whole wording, and the same wording has the same bytes."""
    again = Wording.from_content(wording.name, wording.content())
    assert again == wording
    assert again.content() == wording.content()


@given(wordings, wordings)
def test_two_wordings_share_a_digest_only_when_they_say_the_same(one: Wording, other: Wording) -> None:
    assert (one.digest() == other.digest()) == (one.named("x") == other.named("x"))


def test_purposes_are_those_of_the_choices_each_once() -> None:
    boxes = [("events", True), ("newsletter", False), (None, False), ("events", None)]
    choices = tuple(Choice(purpose=purpose, text="yes", ticked=ticked) for purpose, ticked in boxes)
    assert Wording(**{**SIGN_UP, "choices": choices}).purposes == ("events", "newsletter")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": " "}, "name"),
        ({"name": "a" * (NAME_LENGTH + 1)}, "name"),
        ({"name": "a\nb"}, "control characters"),
        ({"layout_type": "image/png"}, "text/plain or text/html"),
        ({"layout": " ", "choices": ()}, "without any text"),
        ({"layout": "x" * WORDING_BYTES}, "leave out pictures"),
        ({"layout": "\ud800"}, "UTF-8"),
    ],
)
def test_what_proves_nothing_is_no_wording(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(WordingError, match=named):
        Wording(**{**SIGN_UP, **wrong})


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ([], "wording"),
        ({"layuot": "x"}, "wording.layuot"),
        ({"layout": 3}, "wording.layout"),
        ({"layout": "x", "language": ""}, "wording.language"),
        ({"layout": "x", "choices": {}}, "choices"),
        ({"layout": "x", "choices": [{"purpose": "a", "ticked": "no"}]}, "choices[0].ticked"),
        ({"layout": "x", "choices": [{"box": "a"}]}, "choices[0].box"),
    ],
)
def test_a_wrong_field_is_named(given: Any, path: str) -> None:
    with pytest.raises(FactsError) as refused:
        Wording.from_dict("form-1", given)
    assert refused.value.path == path


def test_bytes_that_were_changed_are_no_wording() -> None:
    with pytest.raises(FactsError):
        Wording.from_content("form-1", Wording(**SIGN_UP).content()[:-1])


# --- grades

WHEN = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
LATER = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
CONFIRMED = DoubleOptIn(required=True, requested_at=WHEN, confirmed_at=LATER, mails_sent=1)
SINGLE = DoubleOptIn(required=False, requested_at=None, confirmed_at=None, mails_sent=0)
FULL = Consent(
    id="c1", controller_id="acme", source="own_form", named_recipients=("acme",), purposes=("newsletter",),
    product_categories=None, advertisers=(), given_at=WHEN, withdrawn_at=None, expires_at=None,
    last_interaction_at=None,
    evidence=Evidence(method="web_form", wording_version="form-1", privacy_notice_version="p3", origin="shop"),
    action="active_tick", bundled_with_terms=False, conditional_on_service=False, granular=True,
    double_opt_in=CONFIRMED, parental_authorisation=False, sharing_consent=False, seller_verified=False,
    buyer_verified=False, explicit_special_category=False,
)  # fmt: skip
NOTHING = Evidence(method=None, wording_version=None, privacy_notice_version=None, origin=None)
VERIFIED = {"seller_verified": True, "buyer_verified": True}


def without(**evidence: None) -> dict[str, Evidence]:
    return {"evidence": replace(FULL.evidence, **evidence)}


@pytest.mark.parametrize(
    ("changes", "on_file", "level", "lacks"),
    [
        ({}, True, "strong", ()),
        ({}, False, "good", ("wording_on_file",)),
        ({"double_opt_in": SINGLE}, True, "good", ("mailbox",)),
        ({"double_opt_in": SINGLE}, False, "weak", ("wording_on_file", "mailbox")),
        ({"double_opt_in": replace(CONFIRMED, requested_at=None)}, True, "good", ("mailbox",)),
        ({"double_opt_in": replace(CONFIRMED, requested_at=LATER, confirmed_at=WHEN)}, True, "good", ("mailbox",)),
        (without(method=None), True, "weak", ("method",)),
        (without(origin=None), True, "weak", ("origin",)),
        (without(wording_version=None), True, "weak", ("wording",)),
        ({"action": "unknown"}, True, "weak", ("action",)),
        ({"given_at": None}, True, "weak", ("time",)),
        ({"given_at": None, "double_opt_in": SINGLE}, True, "bare", ("time", "mailbox")),
        ({"evidence": NOTHING, "double_opt_in": SINGLE}, False, "weak", ("method", "wording", "origin", "mailbox")),
        ({"source": "imported_legacy"}, True, "strong", ()),
        ({"source": "purchased_list"}, True, "weak", ("provenance",)),
        ({"source": "third_party_share", "seller_verified": True}, True, "weak", ("provenance",)),
        ({"source": "purchased_list", **VERIFIED}, True, "strong", ()),
    ],
)
def test_a_grade_and_what_would_raise_it(
    changes: dict[str, Any], on_file: bool, level: str, lacks: tuple[str, ...]
) -> None:
    graded = grade(replace(FULL, **changes), wording_on_file=on_file)
    assert (graded.level, graded.lacks) == (level, lacks)


@given(consents, st.booleans(), st.booleans(), st.data())
def test_more_evidence_never_lowers_a_grade(record: Consent, on_file: bool, more: bool, data: st.DataObject) -> None:
    """Invariant: every consent has a grade, and a record that says the same and more has one at least as good."""
    proof = grade(record, wording_on_file=on_file)
    evidence = record.evidence
    richer: dict[str, Any] = {
        "given_at": record.given_at or WHEN,
        "evidence": replace(
            evidence, method=evidence.method or "web_form", wording_version=evidence.wording_version or "form-1",
            origin=evidence.origin or "shop",
        ),
        "action": "active_tick" if record.action == "unknown" else record.action,
        "double_opt_in": CONFIRMED, "seller_verified": True, "buyer_verified": True,
    }  # fmt: skip
    added = data.draw(st.lists(st.sampled_from(sorted(richer)), unique=True))
    better = grade(replace(record, **{name: richer[name] for name in added}), wording_on_file=on_file or more)
    assert better.rank >= proof.rank
    assert set(better.lacks) - {"wording_on_file"} <= set(proof.lacks)


# --- the list as a whole


def counted(*people: tuple[Consent, ...], on_file: tuple[str, ...] = ("form-1",)) -> Meter:
    meter = Meter()
    for records in people:
        meter.add(replace(standing.read({}), consents=records), "acme", on_file, LATER)
    return meter


def test_a_person_counts_once_by_their_best_consent() -> None:
    single = replace(FULL, double_opt_in=SINGLE, purposes=("events",))
    meter = counted((FULL, single), (single,), ())
    assert meter.people == 3
    assert meter.agreed == 2
    assert meter.best == {"strong": 1, "good": 1}
    assert meter.purposes == {"newsletter": {"strong": 1}, "events": {"good": 2}}
    assert meter.wordings == {"form-1": 3}
    assert meter.lacks == {"mailbox": 2}


@pytest.mark.parametrize(
    "ended",
    [
        {"withdrawn_at": WHEN},
        {"expires_at": LATER},
        {"given_at": LATER + (LATER - WHEN)},
        {"controller_id": "other"},
        {"source": "third_party_share", "named_recipients": ("other",)},
    ],
)
def test_what_is_not_in_force_here_does_not_count(ended: dict[str, Any]) -> None:
    meter = counted((replace(FULL, **ended),))
    assert (meter.people, meter.agreed, meter.wordings.total()) == (1, 0, 0)


def test_the_weakest_ways_come_first() -> None:
    old = replace(FULL, source="imported_legacy", evidence=NOTHING, double_opt_in=SINGLE)
    meter = counted((FULL,), (old,), (old,), (replace(FULL, source="purchased_list"),))
    assert weakest(meter, 5) == [("imported_legacy/", 2, 2), ("purchased_list/web_form", 1, 1)]


def test_a_meter_stays_small_whatever_a_file_called_its_wordings() -> None:
    named = [
        (replace(FULL, evidence=replace(FULL.evidence, wording_version=f"v{n}", method=f"m{n}"), purposes=(f"p{n}",)),)
        for n in range(MOST_NAMES + 100)
    ]
    meter = counted(*named)
    assert [len(meter.wordings), len(meter.ways), len(meter.purposes)] == [MOST_NAMES + 1] * 3
    assert meter.wordings[OTHERS] == 100
    assert meter.wordings.total() == meter.agreed == len(named)


@given(st.lists(st.lists(consents, max_size=3).map(tuple), max_size=5))
def test_a_meter_comes_back_from_what_is_kept(people: list[tuple[Consent, ...]]) -> None:
    meter = counted(*people)
    again = Meter.from_dict(json.loads(json.dumps(meter.to_dict())))
    assert again.to_dict() == meter.to_dict()
    assert again.agreed == meter.agreed <= meter.people == len(people)
