"""The command that reads one report from standard input: bounce.

The arguments are read by hand: scripts run this command once per mail, and loading an option parser would take longer
than everything else it does.
"""

import gc
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.bounce_rules import read_bounce_rules
from gateway.cli.refusal import Misused, Refused
from gateway.mail.came_back import MOST
from gateway.mail.event import Event
from gateway.mail.judgement import BounceRules, RulesError
from gateway.mail.returned import read

USAGE = """Usage: {prog} bounce [--config FILE | --rules FILE] < report.eml

Read a bounce, complaint, automatic reply or opt-out by mail from standard
input, and say whom it is about and what it means. Nothing is stored.

One JSON object comes out: `kind` (bounce, complaint, auto-reply, unsubscribe,
other) and `recipients`, each with `address`, `action`, `status`, `class` (hard,
soft, delayed, none), `reason`, `undeliverable` and `diagnostic`. A complaint
has its `feedback_type`; `needs_person` is true where a person must read it.

--config FILE  judge by the rules of this installation (setting bounce_rules)
--rules FILE   judge by the rules that ship and those of this file

Exit code: 0 read, whatever it is; 1 the rules cannot be used; 2 wrong usage.
"""


def app(*, args: Sequence[str], prog_name: str = "consentgate") -> None:
    """Run `bounce` with the words of the command line, and leave with its exit code."""
    words = list(args[1:])
    if "-h" in words or "--help" in words:
        print(USAGE.format(prog=prog_name), end="")
        raise SystemExit(0)
    options = {}
    while words:
        option, _, value = words.pop(0).partition("=")
        if option not in ("--config", "--rules") or not (value or words):
            raise Misused(f"bounce: {option} is not understood. See: {prog_name} bounce --help")
        options[option] = Path(value or words.pop(0))
    rules = _rules(options.get("--rules"), options.get("--config"))
    gc.disable()  # the process ends before its garbage matters
    raw = sys.stdin.buffer.read(MOST)
    while sys.stdin.buffer.read(MOST):
        pass  # whoever writes to us must not find the pipe closed
    json.dump(told(read(raw, rules=rules, at=datetime.now(UTC), verbatim=True)), sys.stdout)
    print()


def _rules(own: Path | None, config: Path | None) -> BounceRules:
    try:
        if own is not None or config is None:
            return read_bounce_rules(own)
    except RulesError as error:
        raise Refused(str(error)) from None
    from gateway.cli import command

    return command.configuration(config).bounce_rules


def told(event: Event) -> dict[str, Any]:
    """The event in the form that is fixed for outside checks."""
    said: dict[str, Any] = {
        "kind": event.kind,
        "recipients": [
            {
                "address": one.address, "action": one.action, "status": one.status, "class": one.bounce_class,
                "reason": one.reason, "undeliverable": one.undeliverable, "diagnostic": one.diagnostic,
            }
            for one in event.recipients
        ],
    }  # fmt: skip
    if event.feedback_type is not None:
        said["feedback_type"] = event.feedback_type
    if event.needs_person:
        said["needs_person"] = True
    return said
