"""A faster constructor for frozen dataclasses that are made for every recipient of every message."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quick_init(cls: type[T]) -> type[T]:
    """Let a frozen, slotted, keyword-only dataclass write its slots directly when it is made.

    The constructor that dataclasses generates goes through `object.__setattr__` for each field, which costs more than
    reading and judging the facts. Everything else stays: signature, `__post_init__`, immutability, equality.
    """
    known = fields(cls)  # type: ignore[arg-type]
    names = [field.name for field in known]
    setters: dict[str, Any] = {f"set_{name}": getattr(cls, name).__set__ for name in names}
    setters |= {f"default_{field.name}": field.default for field in known}
    taken = [f.name if f.default is MISSING else f"{f.name}=default_{f.name}" for f in known]
    lines = [f"    set_{name}(self, {name})" for name in names]
    if hasattr(cls, "__post_init__"):
        lines.append("    self.__post_init__()")
    source = f"def __init__(self, *, {', '.join(taken)}):\n" + "\n".join(lines)
    exec(source, setters)  # noqa: S102 - as dataclasses itself does; the text is made of field names only
    cls.__init__ = setters["__init__"]  # type: ignore[method-assign]
    return cls
