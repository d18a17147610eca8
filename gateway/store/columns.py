"""How columns keep what is no number or text of its own: instants, and purposes with instants."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970 UTC, as every column keeps time."""
    return int(at.timestamp() * 1000)


def instant(ms: int) -> datetime:
    """The instant of a column."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def lifted_purposes(stored: str | None) -> tuple[tuple[str, datetime], ...]:
    """The purposes for which a suppression was lifted, each with the instant, from its column.

    A column that makes no sense lifts nothing.
    """
    if stored is None:
        return ()
    try:
        return tuple(sorted((purpose, instant(ms)) for purpose, ms in json.loads(stored).items()))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return ()


def lifted_column(lifted_for: Iterable[tuple[str, datetime]]) -> str | None:
    """The column again."""
    kept = {purpose: milliseconds(at) for purpose, at in lifted_for}
    return json.dumps(kept, sort_keys=True) if kept else None
