"""Rulings on similar products: entries of the ledger that decisions read with the people they are about."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.sql_store import SqlStore
from suppression.similarity import NOTHING_RULED, Category, Ruled, ruled, similar_pairs
from tests.store.test_contract import BLOCK, NOW, Home


async def rule(store: SqlStore, *, similar: bool, state: str = "in force", controller: str = "acme") -> None:
    public = {"first": "wine", "other": "socks", "similar": similar, "state": state, "by": "web", "proposal": None}
    await store.note(controller, "ruling", public, {"why": "Both are gifts.", "by": "eva"}, at=NOW)


WINE_SOCKS = frozenset(("wine", "socks"))


async def test_a_ruling_is_seen_with_the_next_person_also_in_another_process(home: Home) -> None:
    async with home.opened() as store, home.opened() as other:
        who = [home.who("anna@example.org"), home.who("wim@example.org", "globex")]
        assert [person.ruled for person in await other.people(who)] == [NOTHING_RULED, NOTHING_RULED]
        await rule(store, similar=True)
        anna, wim = await other.people(who)
        assert (anna.ruled, wim.ruled) == (Ruled(similar=frozenset([WINE_SOCKS])), NOTHING_RULED)
        await rule(other, similar=False)
        assert (await store.people(who))[0].ruled == Ruled(apart=frozenset([WINE_SOCKS]))
        await rule(store, similar=True, state="proposed")
        assert (await store.people(who))[0].ruled.apart, "what is only proposed does not count"


async def test_a_ruling_tells_who_when_and_why_and_that_is_sealed(home: Home) -> None:
    async with home.opened() as store:
        await rule(store, similar=True)
        [one] = await store.rulings("acme")
        assert (one.first, one.other, one.similar, one.state) == ("wine", "socks", True, "in force")
        assert (one.at, one.why, one.by, one.channel) == (NOW, "Both are gifts.", "eva", "web")
        assert await store.rulings("globex") == []
        assert b"Both are gifts." not in home.place.on_disk()


async def test_who_was_kept_out_for_a_reason_is_found_with_what_the_mail_was_about(home: Home) -> None:
    async with home.opened() as store:
        kind = {"message_class": "marketing", "categories": ["wine"]}
        await store.enqueue(home.arrival("a@example.org", "b@example.org", state="blocked", decision=BLOCK, kind=kind))
        await store.enqueue(home.arrival("c@example.org", state="queued", kind=kind))
        asked = {"since": NOW - timedelta(days=1), "look_at": 10}
        found = await store.kept_out_as("acme", "RECIPIENT_UNKNOWN", **asked)
        assert {one.recipient_key for one in found} == {home.key("a@example.org"), home.key("b@example.org")}
        assert {one.categories for one in found} == {("wine",)}
        assert await store.kept_out_as("acme", "PRODUCT_NOT_SIMILAR", **asked) == []
        assert len(await store.kept_out_as("acme", "RECIPIENT_UNKNOWN", since=asked["since"], look_at=1)) == 1
        assert await store.kept_out_as("acme", "RECIPIENT_UNKNOWN", since=NOW + timedelta(1), look_at=10) == []


names = st.sampled_from(("wine", "spirits", "socks"))


@given(st.lists(st.tuples(names, names, st.booleans()), max_size=8))
def test_the_last_ruling_on_a_pair_counts_and_no_line_of_the_settings_beats_it(
    said: list[tuple[str, str, bool]],
) -> None:
    """A pair is similar when its last ruling says so, or when nothing was ruled and the settings say so."""
    settings = [Category(name="wine", similar_to=("spirits",)), Category(name="socks", parent="wine")]
    pairs = similar_pairs(settings, ruled(said))
    stated = similar_pairs(settings)
    for pair in map(frozenset, (("wine", "spirits"), ("wine", "socks"), ("spirits", "socks"))):
        last = [similar for first, other, similar in said if {first, other} == pair]
        assert (pair in pairs) == (last[-1] if last else pair in stated)
    assert all(len(pair) == 2 for pair in pairs)
