"""Writes the reference pages beside it from the code they describe. Run: .venv/bin/python docs/reference.py

tests/test_docs.py fails when a page differs from what this would write, so that no page tells of something else.
"""

import ast
import contextlib
import importlib
import inspect
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

from gateway import log
from gateway.__main__ import COMMANDS, usage
from gateway.counters import METRICS
from gateway.mail import reply
from gateway.settings.table import markdown
from gateway.words import Words
from suppression.decision import MESSAGE_LEVEL
from suppression.explain import rules_of
from suppression.reason_code import ACTOR, FAMILY

HERE = Path(__file__).resolve().parent


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """docs/commands.md: what `--help` says, command by command."""
    parts = [
        "# Commands\n",
        "Exit code 0: done; 1: found something, or refused; 2: wrong usage. Errors name file, line, field and remedy.",
        "`--config` may also be given as the variable CONSENTGATE_CONFIG. No command asks anything when standard input",
        "is no terminal.\n",
        f"```\n{usage()}\n```\n",
    ]
    for name, (module, _) in COMMANDS.items():
        for path in paths([name], module):
            parts += [f"## {' '.join(path)}\n", f"```\n{help_of(module, path)}\n```\n"]
    return "\n".join(parts)


def paths(path: list[str], module: str) -> Iterator[list[str]]:
    """The command, or its subcommands where it is a group; a group within a group is shown before its own."""
    found = re.findall(r"(?m)^  ([a-z-]+)(?:  |$)", help_of(module, path).partition("Commands:")[2])
    if len(path) > 1 or not found:
        yield path
    for sub in found:
        yield from paths([*path, sub], module)


def help_of(module: str, path: list[str]) -> str:
    """What `consentgate PATH --help` prints on a terminal of 100 columns."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        os.environ["COLUMNS"] = "100"
        importlib.import_module(f"gateway.cli.{module}").app(args=[*path, "--help"], prog_name="consentgate")
    return "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())


def reason_codes() -> str:
    """docs/reason-codes.md: why mail is kept out, and who can do what about it."""
    words = Words.load()
    who = {
        "person": "the person", "marketer": "the marketer", "privacy": "the privacy officer",
        "operator": "the operator", "nobody": "nobody",
    }  # fmt: skip
    rows = []
    for code, family in FAMILY.items():
        reason = words.reason(code, "en")
        whole = "yes" if code in MESSAGE_LEVEL else ""
        rules = ", ".join(rules_of(code))
        rows.append((f"`{code}`", reason.sentence, rules, family, who[ACTOR[code]], reason.next_step, whole))
    allowed = [
        (f"`{code}`", words.reason(code, "en").sentence, ", ".join(rules_of(code)), words.reason(code, "en").ground)
        for code in ACTOR if code not in FAMILY
    ]  # fmt: skip
    return (
        "# Reason codes\n\n"
        "Each copy that was not sent has exactly one code; codes are never renamed. *Whole message*: when nobody is\n"
        "allowed and one recipient has such a code, DATA is answered 550 5.7.1 with the code, whatever `on_block`\n"
        "says. *Rule*: where the decision table gives it; of one decision, `report explain` names the very rule.\n\n"
        + table(
            ("code", "what it says", "rule", "family", "who can act", "what would make it lawful", "whole message"),
            rows,
        )
        + "\n## Allowed\n\nMarketing the person can stop at any time.\n\n"
        + table(("code", "what it says", "rule", "ground"), allowed)
    )


def smtp_replies() -> str:
    """docs/smtp-replies.md: every reply the gateway gives."""
    rows = [(f"`{said.line}`", said.when) for said in sorted(reply.TABLE.values(), key=lambda r: (r.code, r.line))]
    return (
        "# SMTP replies\n\n"
        "What the listeners say. Where a text ends in a colon or a verb, the id, name or reason code follows.\n\n"
        + table(("reply", "when"), rows)
    )


def _written(source: str) -> list[str]:
    """The fields that a function of the log writes: not all of its arguments, some are only counted."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    lines = [call for call in calls if ast.unparse(call.func).startswith("_log.")]
    return list(dict.fromkeys(keyword.arg for call in lines for keyword in call.keywords if keyword.arg))


def log_events() -> str:
    """docs/log-events.md: every line of the log and every counter."""
    events = []
    for name, function in vars(log).items():
        if inspect.isfunction(function) and function.__module__ == log.__name__ and name[0] != "_":
            source = inspect.getsource(function)
            said = re.search(r"_log\.(\w+)\(", source)
            if said is not None and name != "configure":
                what = re.sub(r" \(P\d+\)", "", " ".join((inspect.getdoc(function) or "").split()))
                events.append((f"`{name}`", said.group(1), what, ", ".join(f"`{field}`" for field in _written(source))))
    counters = []
    for metric in METRICS:
        described = next(iter(metric.describe()))
        suffix = "_total" if described.type == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        counters.append((f"`{described.name}{suffix}`", described.type, described.documentation, labels))
    return (
        "# Log and counters\n\n"
        "The log goes to standard error, as text or JSON lines (setting `log.format`). No line holds an address, a\n"
        "subject or a body. Counters are served at `/metrics` in the Prometheus form.\n\n"
        "## Events\n\n" + table(("event", "level", "meaning", "fields"), events)
        + "\n## Counters\n\n" + table(("name", "kind", "meaning", "labels"), counters)
    )  # fmt: skip


PAGES: MappingProxyType[str, Callable[[], str]] = MappingProxyType(
    {
        "settings.md": markdown,
        "commands.md": commands,
        "reason-codes.md": reason_codes,
        "smtp-replies.md": smtp_replies,
        "log-events.md": log_events,
    }
)

if __name__ == "__main__":
    for page, written in PAGES.items():
        (HERE / page).write_text(written(), encoding="utf-8")
