"""Which product categories count as similar: the controller's category tree and its rulings, turned into pairs.

A parent is similar to its own child, nothing further; a ruling makes one pair. Pairs are unordered and never chained:
wine ~ spirits and spirits ~ glassware say nothing of wine and glassware.

Source: Directive 2002/58/EC art. 13(2) "similar products or services"; RULES D4 check 16, Q3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def similar_pairs(
    parents: Mapping[str, str | None], similar_to: Mapping[str, Iterable[str]]
) -> frozenset[frozenset[str]]:
    """The pairs of one controller.

    `parents` maps each category to its parent, None at the top; `similar_to` maps a category to those it was ruled
    similar to. A category paired with itself says nothing and is left out.
    """
    tree = ((child, parent) for child, parent in parents.items() if parent is not None)
    rulings = ((category, other) for category, others in similar_to.items() for other in others)
    return frozenset(frozenset(pair) for pair in (*tree, *rulings) if pair[0] != pair[1])


def similar(category: str, other: str, pairs: frozenset[frozenset[str]]) -> bool:
    """Whether two categories are the same or a pair."""
    return category == other or frozenset((category, other)) in pairs
