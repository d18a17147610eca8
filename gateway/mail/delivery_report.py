"""Delivery reports in the standard form: the delivery-status part of RFC 3464 (RFC 6533 for addresses in UTF-8).

Read as they come: several such parts, several recipients, blank lines missing or doubled, fields without an address
type, actions that no standard knows. What the words around the part say counts where the part itself is vague.

Total: never raises. Empty for what is no such report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.mail.came_back import ADDRESS, CameBack, as_text, bare_address, decoded
from gateway.mail.event import Action
from gateway.mail.judgement import Stage, code_in
from gateway.mail.mime import Part

MOST_RECIPIENTS = 500
"""Recipients of one report that are read."""
MOST_WORDS = 4000
"""Characters of what is said of one recipient."""
_MOST_OCTETS = 500_000
_MOST_VALUE = 4000
_MOST_TEXT = 50_000

_TYPES = frozenset((b"message/delivery-status", b"message/global-delivery-status"))
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)")
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
_ADDRESS_TYPE = re.compile(r"^[ \t]*([A-Za-z0-9-]{1,20})[ \t]*;[ \t]*")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_FIRST_NAMES = ("final-recipient", "x-actual-recipient", "original-recipient")

ACTIONS: Final[Mapping[str, Action]] = {
    "failed": "failed", "failure": "failed", "fail": "failed", "error": "failed", "bounced": "failed",
    "rejected": "failed", "delayed": "delayed", "delay": "delayed", "deferred": "delayed",
    "transient-failure": "delayed", "delivered": "delivered", "deliverable": "delivered", "success": "delivered",
    "relayed": "relayed", "expanded": "expanded",
}  # fmt: skip
"""What reports write in Action; `deliverable` answers a probe that delivers nothing (Postfix `sendmail -bv`)."""

_BEHIND_DATA = (
    "reply to end of data", "reply to data", "end of data", "after data", "[data]", ">>> data", "response to data",
    "data command", "mail data", "message body", "[end_of_data]", ">>> .",
)  # fmt: skip
_AT_RCPT = (
    "reply to rcpt", "rcpt to:", "[rcpt_to]", "rcpt to response", "after rcpt", "rcpt to command",
    "does not like recipient", ">>> rcpt", "response to rcpt", "rcpt to generated", "smtp:rcpt", "rcpt host",
    "(rcpt to",
)  # fmt: skip
_AT_MAIL = ("reply to mail from", "after mail from", "[mail_from]", ">>> mail", "response to mail from")


_MARKS: tuple[tuple[Stage, tuple[str, ...]], ...] = (("data", _BEHIND_DATA), ("rcpt", _AT_RCPT), ("mail", _AT_MAIL))
"""How reports say which command was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a report tells of one recipient, as it is written. `words`: the server's; `around`: what the text for people
    says of that address, all of it when it does not mention the address."""

    address: str | None
    original_address: str | None = None
    action: Action | None = None
    status: str | None = None
    words: str = ""
    around: str = ""
    stage: Stage | None = None
    reporter: str = ""
    label: str = ""


def read_status(mail: CameBack) -> list[Told]:
    """All recipients of all delivery-status parts; empty when there is none that names one."""
    groups = [fields for part in mail.parts if _may_hold_status(part) for fields in _recipient_groups(part)]
    told = [one for fields in groups[:MOST_RECIPIENTS] if (one := _told(fields)).address or one.status or one.action]
    if not told:
        return []
    said = about(mail.report, [(one.address, one.original_address) for one in told])
    return [_with_text(one, words, mail.report, alone=len(told) == 1) for one, words in zip(told, said, strict=True)]


def _recipient_groups(part: Part) -> list[dict[str, str]]:
    """The groups of fields that name a recipient, each with what was said of the whole message. Fields that stand apart
    behind one belong to it; without any name, an action or a status speaks of whomever the text names."""
    whole: dict[str, str] = {}
    found: list[dict[str, str]] = []
    for fields in _groups(as_text(decoded(part)[:_MOST_OCTETS])):
        if fields.keys() & {*_FIRST_NAMES}:
            found.append({**whole, **fields})
        elif found:
            found[-1] = {**fields, **found[-1]}
        else:
            whole.update(fields)
    return found or ([whole] if whole.keys() & {"action", "status"} else [])


def _may_hold_status(part: Part) -> bool:
    """A part of that type, or one that a confused server called text."""
    if part.type in _TYPES:
        return True
    if part.type.startswith((b"text/html", b"message/")) or part.type == b"text/rfc822-headers":
        return False
    start = decoded(part)[:4000].lower() if part.end - part.body_start < _MOST_OCTETS else b""
    return b"final-recipient:" in start and (b"\naction:" in start or b"\nstatus:" in start)


def _groups(text: str) -> Iterator[dict[str, str]]:
    """The groups of fields, names in lower case, folded lines joined. A group ends at a blank line, and where a second
    recipient begins without one; a group without a recipient behind one that lacks its fields belongs to it."""
    group: dict[str, str] = {}
    last = ""
    for line in [*text.split("\n"), ""]:
        found = _FIELD.match(line.rstrip("\r"))
        if found and found[1].lower() == "final-recipient" and "final-recipient" in group:
            yield group
            group = {}
        if found:
            last = found[1].lower()
            if len(group.get(last, "")) < _MOST_VALUE:
                group[last] = f"{group[last]} {found[2].strip()}" if last in group else found[2].strip()
        elif line[:1] in (" ", "\t") and line.strip() and last:
            if len(group[last]) < _MOST_VALUE:  # joined again and again, a field of half a megabyte would take hours
                group[last] = f"{group[last]} {line.strip()}"
        elif not line.strip() and _is_whole(group):
            yield group
            group, last = {}, ""
    if group:
        yield group


def _is_whole(group: Mapping[str, str]) -> bool:
    """Whether a blank line ends this group; not in the midst of a recipient of which nothing was said yet."""
    if not group:
        return False
    return not group.keys() & {*_FIRST_NAMES} or bool(group.keys() & {"action", "status", "diagnostic-code"})


def _told(fields: Mapping[str, str]) -> Told:
    final = _address(fields.get("final-recipient", "")) or _address(fields.get("x-actual-recipient", ""))
    first = _address(fields.get("original-recipient", ""))
    if first is not None and (final is None or "@" not in final):
        final = first
    diagnostic = fields.get("diagnostic-code", "")
    kind = _ADDRESS_TYPE.match(diagnostic)
    words = diagnostic[kind.end() :] if kind else diagnostic
    status = _STATUS.search(fields.get("status", ""))
    words = words or fields.get("status", "").partition("(")[2].strip(") ")
    extra = " ".join(fields[name] for name in ("x-supplementary-info", "x-notes") if name in fields)
    return Told(
        address=final, original_address=first,
        action=ACTIONS.get(re.split(r"[\s(;,]", fields.get("action", "").strip(), maxsplit=1)[0].lower()),
        status=status[0] if status else code_in(words),
        words=" ".join(filter(None, (words, extra))),
        stage=_local(kind[1] if kind else ""),
        reporter=(fields.get("reporting-mta", "").rpartition(";")[2].split() or [""])[0],
        label=fields.get("x-powermta-bouncecategory", "") or fields.get("x-bounce-category", ""),
    )  # fmt: skip


def _with_text(one: Told, said: str | None, text: str, *, alone: bool) -> Told:
    """With what the text for people says of the address: all of it where it mentions nobody, or speaks of one alone and
    no server's words are handed on."""
    if said is None or (alone and not one.words):
        said = text[:MOST_WORDS]
    stage = stage_of(one.words, one.words) or stage_of(said, one.words) or one.stage
    return replace(one, around=said, stage=stage)


def _local(kind: str) -> Stage | None:
    """A diagnostic of another type than smtp is the reporting server's own knowledge."""
    return "local" if kind and kind.lower() not in ("smtp", "lmtp", "dns", "http") else None


def _address(value: str) -> str | None:
    """The address behind its type; a source route or a bare name stays as it is written."""
    kind = _ADDRESS_TYPE.match(value)
    rest = value[kind.end() :].strip() if kind else value.strip()
    if kind and kind[1].lower() == "utf-8":
        rest = _UTF8_ESCAPE.sub(lambda m: chr(min(int(m[1], 16), 0x10FFFF)), rest).encode("utf-8", "replace").decode()
    if rest.startswith("@") and ":" in rest:
        return rest.split()[0][:320]
    plain = rest.split(" ", 1)[0].strip("<>()\",;'")
    return bare_address(rest) or plain[:320] or None


def about(text: str, names: Sequence[Sequence[str | None]]) -> list[str | None]:
    """What a text for people says of each address, given with its spellings: the lines that mention it, and those
    behind up to the next address or the blank line behind something said. None: not mentioned, but others are; and for
    all when nobody is."""
    known = {name.lower(): index for index, spelt in enumerate(names) for name in spelt if name}
    kept: list[list[str]] = [[] for _ in names]
    now: set[int] = set()
    said = False
    for line in text[:_MOST_TEXT].split("\n"):
        mentioned = {
            known[found.rstrip(".").lower()] for found in _mentions(line) if found.rstrip(".").lower() in known
        }
        if mentioned:
            said = said and mentioned == now
            now = mentioned
        elif not line.strip():
            now = set() if said else now
        else:
            said = True
        for index in now:
            kept[index].append(line)
    whole = "\n".join
    found = [whole(lines)[:MOST_WORDS] if lines else None for lines in kept]
    return found if any(found) else [None for _ in names]


def _mentions(line: str) -> list[str]:
    return ADDRESS.findall(line[:2000]) if "@" in line else []


def stage_of(text: str, words: str) -> Stage | None:
    """Which command was being answered, by what a report says: the mark nearest before the words, else behind."""
    lowered = " ".join(text.lower().split())
    anchor = lowered.find(" ".join(words.lower().split())[:60]) if words else -1
    marks: list[tuple[int, Stage]] = []
    for stage, names in _MARKS:
        for name in names:
            at = lowered.find(name)
            while at >= 0 and len(marks) < 200:
                marks.append((at, stage))
                at = lowered.find(name, at + 1)
    if not marks:
        return None
    behind = [mark for mark in marks if anchor <= mark[0] and "reply to" in lowered[mark[0] - 10 : mark[0] + 12]]
    if anchor >= 0 and behind:
        return min(behind)[1]
    before = [mark for mark in marks if mark[0] <= anchor]
    return max(before)[1] if before else min(marks)[1]
