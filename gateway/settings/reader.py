"""Reads a TOML document against the table of settings, and keeps every problem with the line it stands on.

It knows single values; what values must agree on among themselves is in checks.py.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.settings.file_kinds import read_secret
from gateway.settings.kinds import Bad
from gateway.settings.table import REQUIRED, SETTINGS, SHORT, Setting
from suppression.toml_lines import lines_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in a configuration that stops the start, with what to do about it."""

    file: str
    key: str
    line: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        name = f" {self.key}:" if self.key else ""
        return f"{where}:{name} {self.what}. {self.remedy}{'' if self.remedy.endswith('?') else '.'}"


@dataclass(slots=True)
class _Table:
    """What one TOML table may hold. `short`: the setting that text in the table's place is the value of."""

    settings: dict[str, Setting] = field(default_factory=dict)
    tables: "dict[str, _Table]" = field(default_factory=dict)
    lists: "dict[str, _Table]" = field(default_factory=dict)
    named: "_Table | None" = None
    short: str = ""

    def names(self) -> Iterator[str]:
        yield from self.settings
        yield from self.tables
        yield from self.lists
        for name, setting in self.settings.items():
            if setting.kind.secret:
                yield from (f"{name}_file", f"{name}_env")


def _tree() -> _Table:
    root = _Table()
    for setting in SETTINGS:
        *path, leaf = setting.name.split(".")
        at = root
        for step in path:
            if step == "*":
                at.named = at = at.named or _Table()
            elif step.endswith("[]"):
                at = at.lists.setdefault(step[:-2], _Table())
            else:
                at = at.tables.setdefault(step, _Table())
        at.settings[leaf] = setting
        at.short = SHORT.get(".".join(path), "")
    return root


_NAMES: Final = {
    "logins": (
        r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", "letters, digits, dot, underscore, at sign and hyphen, at most 64",
    ),
    "packs": (r"[A-Z]{2}|UNKNOWN|ALL", "the code of a pack, as NL, or ALL"),
}  # fmt: skip
_ANY_NAME: Final = (r"[a-z0-9][a-z0-9_-]{0,63}", "lower-case letters, digits, underscore and hyphen, at most 64")
"""What the installation may call its own tables: by the table above them, and anywhere else."""


class Reader:
    """Turns a TOML document into checked values, and keeps every problem with the line it stands on.

    After `read`, `failed` holds the dotted keys whose value could not be used, so that later checks can pass them by.
    """

    def __init__(self, path: Path, text: str, environ: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.failed: set[str] = set()
        self._environ = environ
        self._lines = lines_of(text)

    def problem(self, key: str, what: str, remedy: str, near: str = "") -> None:
        """Note one problem at a dotted key.

        The line is that of the key (or of the key `near`, where the first is missing), else of the table above it.
        """
        at, line = near or key, None
        while at and line is None:
            line = self._lines.get(at)
            at = at.rpartition(".")[0]
        self.problems.append(Problem(file=str(self.path), key=key, line=line, what=what, remedy=remedy))
        self.failed.add(key)

    def read(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document with every setting present, converted, and defaults filled in."""
        return self._read(_tree(), document, "")

    def _read(self, table: _Table, data: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        if table.named is not None:
            return {
                name: self._read(table.named, self._table(value, prefix + name), f"{prefix}{name}.")
                for name, value in data.items()
                if self._named(name, prefix)
            }
        known = tuple(table.names())
        for name in data:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                meant = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(known))}"
                self.problem(prefix + name, f"there is no setting {name}", meant)
        out: dict[str, Any] = {}
        for name, setting in table.settings.items():
            out[name] = self._value(setting, name, data, prefix)
        for name, below in table.tables.items():
            out[name] = self._read(below, self._table(data.get(name, {}), prefix + name), f"{prefix}{name}.")
        for name, below in table.lists.items():
            entries = data.get(name, [])
            if not isinstance(entries, list):
                what, remedy = "must be a list of tables", f"Write [[{prefix}{name}]] before each"
                if below.short:
                    what, remedy = "must be a list", "Put it in square brackets"
                self.problem(prefix + name, what, remedy)
                entries = []
            out[name] = [self._entry(below, entry, f"{prefix}{name}.{i}") for i, entry in enumerate(entries, 1)]
        return out

    def _named(self, name: str, prefix: str) -> bool:
        wanted, allowed = _NAMES.get(prefix.split(".")[-2], _ANY_NAME)
        if not re.fullmatch(wanted, name):
            self.problem(prefix + name, f"{name!r} cannot be a name", f"Use {allowed}")
            return False
        return True

    def _entry(self, below: _Table, entry: object, key: str) -> dict[str, Any]:
        """An entry of a list of tables, which some lists let be written as text."""
        if below.short and isinstance(entry, str):
            entry = {below.short: entry}
        elif below.short and not isinstance(entry, dict):
            form = below.settings[below.short].kind.name
            self.problem(key, f"must be {form} or a table", f"Write {form} in quotes, or {{ {below.short} = ... }}")
            return {name: setting.kind.empty for name, setting in below.settings.items()}
        return self._read(below, self._table(entry, key), f"{key}.")

    def _table(self, value: object, key: str) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.problem(key, "must be a table", f"Write [{key}] with settings below it")
        return {}

    def _value(self, setting: Setting, name: str, data: Mapping[str, Any], prefix: str) -> Any:
        key, raw, given = prefix + name, data.get(name), name in data
        if setting.kind.secret:
            key, raw, given = self._secret(name, data, prefix)
        if key in self.failed:
            return None
        if not given:
            if setting.default is REQUIRED:
                self.problem(key, "is missing", f"Add it: {setting.help.rstrip('.')}")
                return setting.kind.empty
            if setting.default is None:
                return setting.kind.empty
            raw = setting.default
        try:
            return setting.kind.parse(raw, self.path.parent)
        except Bad as bad:
            self.problem(f"{key}.{bad.below}" if bad.below else key, bad.what, bad.remedy)
            self.failed.add(key)
            return setting.kind.empty

    def _secret(self, name: str, data: Mapping[str, Any], prefix: str) -> tuple[str, Any, bool]:
        """Take a secret from its value, from `NAME_file` or from the environment variable named by `NAME_env`."""
        given = [n for n in (name, f"{name}_file", f"{name}_env") if n in data]
        if not given:
            return prefix + name, None, False
        key, raw = prefix + given[0], data[given[0]]
        if len(given) > 1:
            self.problem(prefix + given[1], f"stands beside {given[0]}", "Keep one of them")
        elif given[0] != name and not isinstance(raw, str):
            self.problem(key, "must be text", "Put it in quotes")
        elif given[0] == f"{name}_file":
            try:
                raw = read_secret(self.path.parent / raw)
            except Bad as bad:
                self.problem(key, bad.what, bad.remedy)
        elif given[0] == f"{name}_env":
            if raw not in self._environ:
                self.problem(key, f"the environment has no variable {raw}", "Set it before the start")
            raw = self._environ.get(raw)
        return key, raw, True
