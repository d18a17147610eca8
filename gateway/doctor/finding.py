"""One thing that was looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`good` False: a person should do what `text` says. `record`: what belongs into DNS, as BIND writes it."""

    check: str
    good: bool
    text: str
    record: str | None = None
