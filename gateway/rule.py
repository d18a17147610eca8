"""Whether two kinds of products are similar: what a person rules, what stands, and which questions mail has raised.

A ruling is an entry of the ledger, dated and with its reason; it counts for every decision from then on, also for mail
that waits. "Not similar" counts at once. "Similar" lets mail through that was kept out, so on the web it waits for a
second person once two may agree (RULES.md S3); the command line acts as the machine's operator.

Source: Directive 2002/58/EC art. 13(2); RULES.md D4 check 16, Q3.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from gateway.config import Controller
from gateway.store.contract import Store, Who
from gateway.store.rulings import SimilarRuling, State
from gateway.store.staff import Staff
from suppression.similarity import Pair, ruled, similar, similar_pairs

RECENT = timedelta(days=30)
LOOKED_AT = 5_000
"""Copies kept out that are looked at for open questions, at most; the newest ones."""
PEOPLE = 500
BATCH = 100

Source = Literal["settings", "tree", "ruling"]


class NotRuled(ValueError):
    """A ruling that makes no sense. `reason`: "category", "same", "why", "own" or "gone"; the text is English."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One pair as it stands. `source`: where that comes from; `ruling`: the last one, None without any."""

    first: str
    other: str
    similar: bool
    source: Source
    why: str
    ruling: SimilarRuling | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A pair nobody ruled on: so many people were kept out from mail about `offered` who had bought `bought`."""

    offered: str
    bought: str
    people: int


def needs_second(staff: Iterable[Staff], controller_id: str, *, similar: bool) -> bool:
    """Whether a ruling on the web waits for a second person: it lets mail through, and two may agree (RULES.md S3)."""
    return similar and sum(may_rule(one, controller_id) for one in staff) > 1


def may_rule(staff: Staff, controller_id: str) -> bool:
    """Whether somebody on the staff may rule for a controller."""
    return "privacy" in staff.roles and (not staff.controllers or controller_id in staff.controllers)


async def rule(
    store: Store, controller: Controller, first: str, other: str, *, similar: bool, why: str, by: str, channel: str,
    now: datetime, second: bool = False,
) -> State:  # fmt: skip
    """Rule on a pair; `second`: only propose it. `channel`: "web" or "command line". Raises NotRuled."""
    known = ", ".join(controller.categories) or "none"
    for name in (first, other):
        if name not in controller.categories:
            raise NotRuled("category", f"There is no category {name!r}. Known: {known}.")
    if first == other:
        raise NotRuled("same", f"{first!r} is one category; a category is always similar to itself.")
    if not why.strip():
        raise NotRuled("why", "A ruling needs a reason: would this customer be surprised?")
    state: State = "proposed" if second else "in force"
    await _write(store, controller.id, first, other, similar, state, channel, {"why": why.strip(), "by": by}, now)
    return state


async def answer(
    store: Store, controller: Controller, proposal_id: bytes, *, agree: bool, by: str, now: datetime
) -> State:  # fmt: skip
    """The second person's answer to a proposal. Raises NotRuled where it is answered already, or was one's own."""
    found = [one for one in open_proposals(await store.rulings(controller.id)) if one.ruling_id == proposal_id]
    if not found:
        raise NotRuled("gone", "There is no such proposal any more.")
    [one] = found
    if agree and one.by == by:
        raise NotRuled("own", "Somebody else has to agree.")
    state: State = "in force" if agree else "declined"
    said = {"why": one.why, "by": one.by, "second": by}
    await _write(
        store, controller.id, one.first, one.other, one.similar, state, one.channel, said, now, proposal=proposal_id
    )
    return state


async def _write(
    store: Store, controller_id: str, first: str, other: str, similar: bool, state: State, channel: str,
    private: dict[str, str], now: datetime, *, proposal: bytes | None = None,
) -> None:  # fmt: skip
    """One entry of the ledger. Names of people are sealed."""
    public = {
        "first": first, "other": other, "similar": similar, "state": state, "by": channel,
        "proposal": proposal.hex() if proposal is not None else None,
    }  # fmt: skip
    await store.note(controller_id, "ruling", public, private, at=now)


def open_proposals(rulings: Sequence[SimilarRuling]) -> list[SimilarRuling]:
    """Proposals that nobody answered yet, oldest first; one for a pair ruled on since is answered by that."""
    answered = {one.proposal for one in rulings}
    return [
        one
        for at, one in enumerate(rulings)
        if one.state == "proposed"
        and one.ruling_id not in answered
        and not any(later.state == "in force" and _pair(later) == _pair(one) for later in rulings[at + 1 :])
    ]


def pairs(controller: Controller, rulings: Sequence[SimilarRuling]) -> list[PairRow]:
    """Every pair of which the settings or a ruling say something, as it stands: the last ruling beats the settings."""
    rows: dict[Pair, PairRow] = {}
    for category in controller.categories.values():
        stated: list[tuple[str, Source, str]] = [
            (other, "settings", category.motivation) for other in category.similar_to
        ]
        if category.parent is not None:
            stated.append((category.parent, "tree", ""))
        for other, source, why in stated:
            rows.setdefault(frozenset((category.name, other)), PairRow(
                first=category.name, other=other, similar=True, source=source, why=why, ruling=None
            ))  # fmt: skip
    for one in rulings:
        if one.state == "in force":
            rows[_pair(one)] = PairRow(
                first=one.first, other=one.other, similar=one.similar, source="ruling", why=one.why, ruling=one
            )
    return sorted(rows.values(), key=lambda row: (row.first, row.other))


def _pair(one: SimilarRuling) -> Pair:
    return frozenset((one.first, one.other))


async def questions(store: Store, controller: Controller, *, now: datetime) -> list[Question]:
    """Which pairs kept people out lately that nobody ruled on, the most frequent first.

    Looks at the newest LOOKED_AT copies kept out within RECENT and at PEOPLE of their recipients: what it costs does
    not grow with the installation.
    """
    kept_out = await store.kept_out_as(controller.id, "PRODUCT_NOT_SIMILAR", since=now - RECENT, look_at=LOOKED_AT)
    said = ruled((r.first, r.other, r.similar) for r in await store.rulings(controller.id) if r.state == "in force")
    known = similar_pairs(controller.category_tree, said)
    about: dict[bytes, set[str]] = {}
    for one in kept_out:
        if len(about) < PEOPLE or one.recipient_key in about:
            about.setdefault(one.recipient_key, set()).update(one.categories)
    counts: Counter[tuple[str, str]] = Counter()
    keys = list(about)
    for start in range(0, len(keys), BATCH):
        whos = [Who(controller.id, (key,), ()) for key in keys[start : start + BATCH]]
        for person in await store.people(whos):
            bought = {name for sale in person.standing.sales for name in sale.product_categories}
            counts.update(_raised(about[person.recipient_key], bought & controller.categories.keys(), known))
    counts = Counter({
        (offered, had): n for (offered, had), n in counts.items() if frozenset((offered, had)) not in said.apart
    })  # fmt: skip
    return [Question(offered=offered, bought=had, people=n) for (offered, had), n in counts.most_common()]


def _raised(offered: Iterable[str], bought: set[str], known: frozenset[Pair]) -> list[tuple[str, str]]:
    """The pairs that would have covered what was not covered."""
    return [
        (category, had)
        for category in offered
        if not any(similar(category, had, known) for had in bought)
        for had in sorted(bought)
    ]
