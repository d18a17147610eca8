"""How many people got the same text, counted by several workers; and which mail an answer is about."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from gateway.lookalikes import BITS, Lookalikes, alike, people_in
from gateway.mail.promotional import Sign
from gateway.promotional_rules import read_promotional_rules
from gateway.store.holding import Answer, Seen
from suppression.vault import KeyRing

RULES = read_promotional_rules()
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RING = KeyRing({1: bytes(range(32))})
ACME: Any = SimpleNamespace(id="acme", promotional=RULES)
ORDERS: Any = SimpleNamespace(name="orders", mislabelled="hold")
OFFER = Sign("wording", RULES.threshold - RULES.repeated, "aanbieding")


def kind(*signs: Sign, text: bytes = b"text", likeness: str = "fp-1") -> Any:
    return SimpleNamespace(skeleton=text, likeness=likeness, signs=signs)


def people(start: int, stop: int) -> list[str]:
    return [f"klant{n}@example.net" for n in range(start, stop)]


def handled(one: Lookalikes, who: list[str], now: datetime = NOON, text: bytes = b"text") -> str:
    return one.at(now).judge(kind(OFFER, text=text), ACME, ORDERS, who).handling


def test_the_same_text_to_many_is_one_more_sign_and_never_enough_alone() -> None:
    one = Lookalikes(RING)
    assert handled(one, people(0, 1)) == ""
    assert handled(one, people(0, 1) * 500) == "", "one person is one person, however often"
    assert handled(one, people(1, 2 * RULES.recipients)) == "hold"
    assert one.at(NOON).judge(kind(), ACME, ORDERS, people(0, 1)).handling == "", "nothing else was found"
    assert handled(one, people(0, 1), text=b"other") == "", "another text is another count"


def test_windows_end() -> None:
    one, window = Lookalikes(RING), timedelta(minutes=RULES.minutes)
    handled(one, people(0, 2 * RULES.recipients))
    assert handled(one, people(0, 1), NOON + window) == "hold", "the window before counts too"
    assert handled(one, people(0, 1), NOON + 3 * window) == ""


def test_workers_count_together() -> None:
    """A third of the people at each of three workers: none knows, all together do; joined in any order."""
    workers = [Lookalikes(RING) for _ in range(3)]
    third = RULES.recipients // 2
    for n, one in enumerate(workers):
        assert handled(one, people(n * third, (n + 1) * third)) == ""
    store: dict[tuple[str, bytes, int], int] = {}
    for one in (*workers, *workers):
        rows = one.to_join()
        joined = []
        for row in rows:
            key = row.stream, row.skeleton, row.slot
            store[key] = store.get(key, 0) | row.people
            joined.append(Seen(controller_id=row.controller_id, stream=row.stream, skeleton=row.skeleton,
                               slot=row.slot, people=store[key]))  # fmt: skip
        one.joined(joined)
    assert handled(workers[2], people(0, 1)) == "hold"
    assert handled(workers[0], people(5, 6)) in ("", "hold"), "it learns with its own next news"
    lonely = Lookalikes(RING)
    handled(lonely, people(0, 1))
    assert lonely.to_join() == [], "a text that one person got is nobody's business"


def test_the_count_is_near_enough() -> None:
    one = Lookalikes(RING)
    for n in (10, 50, 100, 400):
        bits = one.at(NOON).judge  # counted by the same hash as in use
        bits(kind(text=str(n).encode()), ACME, ORDERS, people(0, n))
        [row] = [row for row in one.to_join() if abs(people_in(row.people) - n) <= max(3, n // 10)]
        one.joined([row])
    assert people_in(0) == 0 and people_in((1 << BITS) - 1) > 2000


def test_an_answer_holds_for_mail_like_it_and_no_other() -> None:
    signs = ("wording 4 aanbieding", "tracking 2 utm_campaign=")
    assert alike("aa", "fp-1", signs, "aa", "fp-2", ("bulk 7 List-Id",)), "the same text"
    assert alike("aa", "fp-1", signs, "bb", "fp-1", ("wording 5 aanbieding",)), "same sender and subject, fewer signs"
    assert alike("", "fp-1", signs, "", "fp-1", ("tracking 2 mc_eid=",)), "links count by kind"
    assert not alike("aa", "fp-1", signs, "bb", "fp-1", ("wording 4 black friday",)), "a sign that was not there"
    assert not alike("aa", "fp-1", signs, "bb", "fp-2", ()), "another sender or subject"
    assert not alike("", "", signs, "", "", ()), "nothing to know it by"


def test_the_last_answer_counts() -> None:
    one = Lookalikes(RING)
    big = Sign("wording", RULES.threshold, "aanbieding")
    said = one.at(NOON).judge(kind(big), ACME, ORDERS, people(0, 1))
    assert (said.handling, [str(sign) for sign in said.signs]) == ("hold", [str(big)])

    def answer(*, service: bool, stream: str = "orders") -> Answer:
        return Answer(answer_id=b"", at=NOON, stream=stream, skeleton=said.skeleton, likeness="fp-1",
                      signs=(str(big),), service=service)  # fmt: skip

    for answers, handling in (
        ([answer(service=True)], "service"), ([answer(service=True), answer(service=False)], "block"),
        ([answer(service=True, stream="invoices")], "hold"),
    ):  # fmt: skip
        one.learn({"acme": answers})
        assert one.judge(kind(big), ACME, ORDERS, people(0, 1)).handling == handling
    one.learn({"globex": [answer(service=True)]})
    assert one.judge(kind(big), ACME, ORDERS, people(0, 1)).handling == "hold", "controllers are strangers"
