"""Which product categories count as similar: the controller's category tree and its rulings, turned into pairs.

A parent is similar to its own child, nothing further; a ruling makes one pair. Pairs are unordered and never chained:
wine ~ spirits and spirits ~ glassware say nothing of wine and glassware.

Of several rulings on one pair the last counts. One that says "not similar" beats whatever the settings say, tree and
pairs alike: the answer of whoever looked at it last must not be undone by a line nobody looked at.

Source: Directive 2002/58/EC art. 13(2) "similar products or services"; RULES D4 check 16, Q3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One product category of a controller: the one above it (None: at the top), and those it was ruled similar to."""

    name: str
    parent: str | None = None
    similar_to: tuple[str, ...] = ()


Pair = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What stands ruled: pairs that are similar, and pairs that are not."""

    similar: frozenset[Pair] = frozenset()
    apart: frozenset[Pair] = frozenset()


NOTHING_RULED = Ruled()


def ruled(rulings: Iterable[tuple[str, str, bool]]) -> Ruled:
    """What rulings amount to, given in the order in which they were made: two categories, and whether similar."""
    last = {frozenset((first, second)): similar for first, second, similar in rulings}
    return Ruled(
        similar=frozenset(pair for pair, similar in last.items() if similar),
        apart=frozenset(pair for pair, similar in last.items() if not similar),
    )


def similar_pairs(categories: Iterable[Category], ruled: Ruled = NOTHING_RULED) -> frozenset[Pair]:
    """The pairs of one controller. A category paired with itself says nothing and is left out."""
    pairs: set[Pair] = set()
    for category in categories:
        above = () if category.parent is None else (category.parent,)
        pairs.update(frozenset((category.name, other)) for other in (*above, *category.similar_to))
    return frozenset(pair for pair in (pairs | ruled.similar) - ruled.apart if len(pair) == 2)


def similar(category: str, other: str, pairs: frozenset[Pair]) -> bool:
    """Whether two categories are the same or a pair."""
    return category == other or frozenset((category, other)) in pairs
