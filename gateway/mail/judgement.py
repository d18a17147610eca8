"""What a refusal means for an address: class, reason, and whether mailbox or domain are said not to exist.

The rules are data (bounce_rules.toml; an operator's own file overrides or adds), and the order is the policy: the
first rule that fits decides. One mechanism for reports that come back, providers' hooks and answers at hand-over.

What no rule can change: only a final failure makes an address undeliverable, a quota or policy reason never does, and
what was said about the sender (before RCPT) says nothing about the recipient.

Pure and total. Cost: the length of the text (bounded) times the rules'. Rules that cannot be used: RulesError.
Sources: RFC 3463, RFC 5248, RFC 7372, RFC 7505 (codes), RFC 3464 2.3 (action, status).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from gateway.mail.event import Action, BounceClass, Judgement, Reason
from gateway.mail.outcome import Outcome
from gateway.mail.phrase import Phrases, has_words, plain
from suppression.toml_lines import error_line, lines_of

Stage = Literal["mail", "rcpt", "data", "local"]
"""What was being answered: a command (`data`: also the message itself), or `local`: nobody was asked, the reporting
server knows by itself."""

ALIVE: frozenset[Reason] = frozenset({
    "mailbox-full", "too-large", "policy", "spam", "virus", "blocked", "authentication", "rate-limited",
    "relaying-denied", "content", "protocol", "loop", "network", "system", "expired", "suppressed", "delivered",
    "inactive", "undefined",
})  # fmt: skip
"""Reasons with which no rule may call an address dead."""

_CODE = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_BASIC_THEN_CODE = re.compile(r"(?<![\d.])([2-5]\d\d)(?:[ -]{1,2}|\s*'|-')#?\(?([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_BASIC = re.compile(r"(?<![\d.:/\[-])([245][0-5]\d)(?![\d.:]*\d)(?=[\s:;,-]|$)")
_STATUS = re.compile(r"(?:[245]|\*)\.(?:\d{1,3}|\*)\.(?:\d{1,3}|\*)")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
APART = "\n...and further...\n"
"""Put between two texts, so that the end of one and the start of the other make no phrase together."""
_UNSAID = "5.0.0"
_VAGUE = frozenset({"5.0.0", "4.0.0"})
_NEAR = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row. Empty conditions do not count; all others must hold, of each list any entry.

    `status`: patterns as 5.1.1 or 5.7.*. `stage`: of these; `unknown` stands for a report that does not say. `says`,
    `unless`: phrases (phrase.py). `reporter`: the server that made the report, `*` at either end for anything. `label`:
    the provider's own word.
    """

    name: str
    reason: Reason
    undeliverable: bool
    status: tuple[tuple[str, ...], ...]
    stage: frozenset[str]
    says: Phrases
    unless: Phrases
    reporter: tuple[str, ...]
    label: tuple[str, ...]


class RulesError(ValueError):
    """Rules that cannot be used. Names the file, the line where known, the field, and what to do."""

    def __init__(self, file: str, field: str, what: str, remedy: str, line: int | None = None) -> None:
        super().__init__(f"{file}{f':{line}' if line else ''}: {field}: {what}. {remedy}.")
        self.file, self.field, self.what, self.remedy, self.line = file, field, what, remedy, line


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said of one address. `text`: the words of the server that refused, and any around them; addresses may
    be in it. `status`: of the report. `stage`: None where nothing tells. `reporter`: host name, "" unknown."""

    text: str
    status: str | None = None
    stage: Stage | None = None
    reporter: str = ""
    label: str = ""


class BounceRules:
    """The rules in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)

    def judge(self, said: Said, *, action: Action | None = "failed", around: str = "") -> Judgement:
        """What was said means this. `around`: what else the report says of the address, for people. It counts where
        the words themselves tell nothing, and where it contradicts them: what either says is alive is alive. Total."""
        kind = class_of(action, said.status or code_in(said.text))
        if kind == "none":
            return Judgement(bounce_class=kind, reason="delivered", undeliverable=False)
        rule = self.rule_for(said)
        if around and around != said.text:
            more = self.rule_for(replace(said, text=f"{said.text}{APART}{around}"))
            if rule is None or (more is not None and more.says and (rule.undeliverable or not rule.says)):
                rule = more
        if rule is None:
            return Judgement(bounce_class=kind, reason="undefined", undeliverable=False)
        dead = rule.undeliverable and kind == "hard" and said.stage != "mail"
        return Judgement(bounce_class=kind, reason=rule.reason, undeliverable=dead)

    def rule_for(self, said: Said) -> Rule | None:
        """The rule that decides; None when none fits."""
        status = (telling_status(said.status, said.text) or _UNSAID).split(".")
        text, stage = plain(said.text), said.stage or "unknown"
        reporter, label = said.reporter.strip(" .").lower(), said.label.strip().lower()
        for rule in self.rules:
            if (
                (not rule.status or any(_fits(pattern, status) for pattern in rule.status))
                and (not rule.stage or stage in rule.stage)
                and (not rule.label or any(_glob(one, label) for one in rule.label))
                and (not rule.reporter or any(_glob(one, reporter) for one in rule.reporter))
                and (not rule.says or rule.says.within(text))
                and not (rule.unless and rule.unless.within(text))
            ):
                return rule
        return None


def judge_live(rules: BounceRules, outcome: Outcome) -> Judgement:
    """What an answer at hand-over means for the address. Only a final refusal that spoke about it says anything bad."""
    if outcome.state == "delivered":
        return Judgement(bounce_class="none", reason="delivered", undeliverable=False)
    stage = _LIVE.get(outcome.stage)
    if outcome.code is None or stage is None:  # no answer, or one about us
        waits = outcome.state == "retry"
        return Judgement(bounce_class="delayed" if waits else "hard", reason="network" if waits else "content",
                         undeliverable=False)  # fmt: skip
    said = Said(text=f"{outcome.code} {outcome.text}", status=outcome.enhanced, stage=stage)
    return rules.judge(said, action="failed" if outcome.state == "failed" else "delayed")


_LIVE: Mapping[str, Stage] = {"mail": "mail", "rcpt": "rcpt", "data": "data", "body": "data"}


def class_of(action: Action | None, status: str | None) -> BounceClass:
    """The class by action and first digit. Without an action the digit alone tells; without either it failed."""
    digit = status[0] if status else ""
    if action == "delayed":
        return "delayed"
    if action in ("delivered", "relayed", "expanded") or (action is None and digit == "2"):
        return "none"
    return "soft" if digit == "4" else "hard"


def code_in(text: str) -> str | None:
    """The enhanced code a server gave in its words; None without. The one behind a reply code is the server's own."""
    text = text[:_NEAR]
    found = _BASIC_THEN_CODE.search(text)
    if found and found[1][0] == found[2][0]:
        return found[2]
    alone = _CODE.search(text)
    return alone[1] if alone else None


def reply_code_in(text: str) -> int | None:
    """The basic reply code in a server's words; None without."""
    found = _BASIC.search(text[:_NEAR])
    return int(found[1]) if found else None


def telling_status(status: str | None, text: str) -> str | None:
    """The code that tells most: the remote server's own in its words, unless that is vague; else the report's."""
    said = code_in(text)
    if said is None or (status is not None and said in _VAGUE):
        return status
    if status is not None and status[0] != said[0]:
        return status
    return said


def _fits(pattern: tuple[str, ...], status: Sequence[str]) -> bool:
    return len(status) == 3 and all(want in ("*", have) for want, have in zip(pattern, status, strict=True))


def _glob(pattern: str, text: str) -> bool:
    bare = pattern.strip("*")
    if pattern.startswith("*"):
        return bare in text if pattern.endswith("*") else text.endswith(bare)
    return text.startswith(bare) if pattern.endswith("*") else text == bare


def load_rules(shipped: str, own: str | None = None, *, name: str = "", file: str = "bounce_rules.toml") -> BounceRules:
    """The rules that ship, and an operator's: a rule of the same name takes the shipped one's place, a new one comes
    before all that ship, `drop` takes shipped ones out. `name`: of the operator's file, for messages.

    Raises RulesError.
    """
    rules = _Reader(shipped, file).rules()
    if own is None:
        return BounceRules(rules)
    reader = _Reader(own, name)
    mine = {rule.name: rule for rule in reader.rules()}
    dropped = reader.dropped(frozenset(rule.name for rule in rules))
    kept = [mine.pop(rule.name, rule) for rule in rules if rule.name not in dropped]
    return BounceRules([*mine.values(), *kept])


class _Reader:
    """One text of rules. Every mistake is a RulesError with its line."""

    def __init__(self, text: str, file: str) -> None:
        self.file, self.lines = file, lines_of(text)
        try:
            self.document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RulesError(file, "file", f"is not TOML: {error}", "Correct the line", error_line(error)) from None
        for field in self.document:
            if field not in ("rule", "drop"):
                raise self._wrong(field, "is not known", "Known: rule, drop")

    def rules(self) -> list[Rule]:
        rows = self.document.get("rule", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._wrong("rule", "is not a list of tables", "Begin each rule with a line [[rule]]")
        rules = [self._rule(row, f"rule.{number}") for number, row in enumerate(rows, 1)]
        seen: set[str] = set()
        for number, rule in enumerate(rules, 1):
            if rule.name in seen:
                raise self._wrong(
                    f"rule.{number}.name", f"{rule.name} stands twice", "Give each rule a name of its own"
                )
            seen.add(rule.name)
        return rules

    def dropped(self, known: frozenset[str]) -> frozenset[str]:
        names = self._texts(self.document, "drop", "drop")
        for name in names:
            if name not in known:
                raise self._wrong("drop", f"no rule that ships is named {name}", "Take it out, or correct the name")
        return frozenset(names)

    def _rule(self, row: Mapping[str, Any], at: str) -> Rule:
        for field in row:
            if field not in Rule.__slots__:
                raise self._wrong(f"{at}.{field}", "is not known", f"Known: {', '.join(Rule.__slots__)}")
        name, reason = row.get("name"), cast("Reason", row.get("reason"))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._wrong(f"{at}.name", "is no name", "Use lower-case letters, digits and hyphens")
        if reason not in get_args(Reason):
            raise self._wrong(f"{at}.reason", "is not a reason", f"One of: {', '.join(get_args(Reason))}")
        dead = row.get("undeliverable", False)
        if not isinstance(dead, bool):
            raise self._wrong(f"{at}.undeliverable", "is not true or false", "Write true or false")
        if dead and reason in ALIVE:
            raise self._wrong(f"{at}.undeliverable", f"{reason} never means that an address is dead", "Take it out")
        rule = Rule(
            name=name, reason=reason, undeliverable=dead,
            status=tuple(tuple(one.split(".")) for one in self._texts(row, "status", at, self._is_status)),
            stage=frozenset(self._texts(row, "stage", at, self._is_stage)),
            says=Phrases(self._texts(row, "says", at, self._is_phrase)),
            unless=Phrases(self._texts(row, "unless", at, self._is_phrase)),
            reporter=tuple(one.lower() for one in self._texts(row, "reporter", at, self._is_glob)),
            label=tuple(one.lower() for one in self._texts(row, "label", at, self._is_glob)),
        )  # fmt: skip
        if not (rule.status or rule.stage or rule.says or rule.reporter or rule.label):
            raise self._wrong(at, "fits everything", "Give it at least one of status, stage, says, reporter, label")
        return rule

    def _texts(
        self, row: Mapping[str, Any], field: str, at: str, check: Callable[[str], str | None] = lambda _: None
    ) -> list[str]:
        value = row.get(field, [])
        where = field if at == field else f"{at}.{field}"
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong(where, "is not a list of texts", 'Write it as ["one", "two"]')
        for one in value:
            remedy = check(one)
            if remedy is not None:
                raise self._wrong(where, f"{one!r} cannot be used", remedy)
        return value

    @staticmethod
    def _is_status(one: str) -> str | None:
        return None if _STATUS.fullmatch(one) else "Write a code as 5.1.1 or 5.7.*"

    @staticmethod
    def _is_stage(one: str) -> str | None:
        return None if one in ("unknown", *get_args(Stage)) else "One of: mail, rcpt, data, local, unknown"

    @staticmethod
    def _is_phrase(one: str) -> str | None:
        return None if has_words(one) else "A phrase holds at least one word"

    @staticmethod
    def _is_glob(one: str) -> str | None:
        return None if one.strip("*") and "*" not in one.strip("*") else "A * may stand at the start and at the end"

    def _wrong(self, field: str, what: str, remedy: str) -> RulesError:
        return RulesError(self.file, field, what, remedy, self.lines.get(field) or self._table_line(field))

    def _table_line(self, field: str) -> int | None:
        return self.lines.get(field.rpartition(".")[0])
