"""A faster constructor for frozen dataclasses that are made for every recipient of every message."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quick_init(cls: type[T]) -> type[T]:
    """Let a frozen, slotted dataclass write its slots directly when it is made.

    The constructor that dataclasses generates goes through `object.__setattr__` for each field, which costs more than
    reading and judging the facts. Everything else stays: signature, `__post_init__`, immutability, equality.
    """
    known = fields(cls)  # type: ignore[arg-type]
    names = [field.name for field in known]
    setters: dict[str, Any] = {f"set_{name}": getattr(cls, name).__set__ for name in names}
    setters |= {f"default_{field.name}": field.default for field in known}
    made = {field.name: field.default_factory for field in known if field.default_factory is not MISSING}
    setters |= {f"make_{name}": factory for name, factory in made.items()}
    taken = [f.name if f.default is MISSING and f.name not in made else f"{f.name}=default_{f.name}" for f in known]
    setters["MISSING"] = MISSING
    lines = [f"    if {name} is MISSING: {name} = make_{name}()" for name in made]
    lines += [f"    set_{name}(self, {name})" for name in names]
    if hasattr(cls, "__post_init__"):
        lines.append("    self.__post_init__()")
    by_name = "*, " if known[0].kw_only else ""
    source = f"def __init__(self, {by_name}{', '.join(taken)}):\n" + "\n".join(lines)
    exec(source, setters)  # noqa: S102 - as dataclasses itself does; the text is made of field names only
    cls.__init__ = setters["__init__"]  # type: ignore[method-assign]
    return cls
