"""The list a dry run of `import` writes on request: what would become of each row, addresses included."""

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from gateway.cli import command
from gateway.files.outgoing import harmless

if TYPE_CHECKING:
    from gateway.foresee import Foreseen

COLUMNS: Final = ("kind", "line", "address", "outcome", "stopped", "changes", "reason")


@contextlib.contextmanager
def written(place: str, *, as_json: bool) -> "Iterator[Callable[[Foreseen], None]]":
    """Where each row is told: a new file for its owner only, or `-` for standard output; CSV, or JSON lines."""
    with contextlib.ExitStack() as stack:
        if place == "-":
            out: TextIO = sys.stdout
        else:
            out = stack.enter_context(command.new_text(Path(place)))
        yield _json_lines(out) if as_json or place.endswith(".jsonl") else _csv(out)
        out.flush()


def _json_lines(out: TextIO) -> "Callable[[Foreseen], None]":
    def tell(row: "Foreseen") -> None:
        changes = [{"field": one.field, "from": one.before, "to": one.after} for one in row.changes]
        told = {
            "kind": row.kind, "line": row.line, "address": row.address, "outcome": row.outcome,
            "stopped": row.stopped, "changes": changes, "reason": row.reason,
        }  # fmt: skip
        out.write(json.dumps(told, ensure_ascii=False) + "\n")

    return tell


def _csv(out: TextIO) -> "Callable[[Foreseen], None]":
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)

    def tell(row: "Foreseen") -> None:
        changes = "; ".join(f"{one.field}: {one.before or '(none)'} -> {one.after or '(none)'}" for one in row.changes)
        stopped = "yes" if row.stopped else "no"
        cells = [row.kind, str(row.line), row.address or "", row.outcome, stopped, changes, row.reason]
        writer.writerow(harmless(cells))

    return tell
