"""Whether the promises were kept: what was answered, held against what the next server wrote down. No I/O.

A promise is named as in the product's documents: P1 nothing accepted is lost, P2 nothing unlawful is sent, P3 an
opt-out counts at once, P7 the ledger can be verified and rebuilt.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bench.chaos_load import Record, SinkFile

TWICE = 0.005
"""Part of the copies that may come twice: each crash repeats what was on its way."""
LATE_SECONDS = 1.0
"""How long after the answer to an opt-out a MAIL FROM may still follow."""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise: whether it was kept, and the figures."""

    promise: str
    kept: bool
    told: str


@dataclass(frozen=True, slots=True)
class Books:
    """What the gateway itself says at the end: its campaign row, and what still waits."""

    campaign: Mapping[str, int]
    waiting: Sequence[Mapping[str, object]]
    commands: Mapping[str, tuple[int, str]]
    """Exit code and last words of each command that checks the installation."""


def findings(
    record: Record, file: SinkFile, books: Books, *, strangers: Collection[str], last_round: Collection[str]
) -> list[Finding]:
    """Every promise in turn. `strangers`: people who never agreed. `last_round`: who was mailed again at the end,
    when all of them had opted out."""
    came = Counter((str(row["id"]), str(row["to"])) for row in file.took)
    return [
        *_arrived(record, came),
        _twice(came),
        _whole(record, file),
        _strangers(file, strangers),
        _in_time(record, file),
        _opt_outs_stand(record, file, last_round),
        Finding(
            "P5 no tool is told that its mail is wrong", not record.refused,
            f"{len(record.refused)} final refusals {record.refused[:SHOWN]}",
        ),
        Finding(
            "nothing is left in the queue", not books.waiting,
            f"{len(books.waiting)} copies wait {books.waiting[:SHOWN]}",
        ),
        _adds_up(record, came, books.campaign),
        *(Finding(name, code == 0, said) for name, (code, said) in books.commands.items()),
    ]  # fmt: skip


def _arrived(record: Record, came: Counter[tuple[str, str]]) -> list[Finding]:
    promised = [(named, to) for named, mail in record.taken.items() for to in mail.recipients]
    missing = [(named, to) for named, to in promised if not came[named, to]]
    lost = [pair for pair in missing if pair[1] not in record.asked_out and not pair[1].startswith(STRANGER)]
    return [Finding(
        "P1 every 250 arrived", not lost and bool(promised),
        f"{len(record.taken)} messages answered 250, {len(promised)} copies, {len(promised) - len(missing)} arrived, "
        f"{len(missing) - len(lost)} kept out, {len(lost)} lost {lost[:SHOWN]}",
    )]  # fmt: skip


STRANGER = "stranger"
"""How the addresses of people who never agreed begin."""


def _twice(came: Counter[tuple[str, str]]) -> Finding:
    again = sum(came.values()) - len(came)
    part = again / max(1, len(came))
    return Finding("P1 few come twice", part < TWICE, f"{again} of {len(came)} copies came again ({part:.2%})")


def _whole(record: Record, file: SinkFile) -> Finding:
    wrong = [
        row for row in file.took
        if not row["whole"]
        or (offered := record.offered.get(str(row["subject"]))) is None or row["to"] not in offered.recipients
        or ((taken := record.taken.get(str(row["id"]))) is not None and taken.subject != row["subject"])
    ]  # fmt: skip
    return Finding("each copy is whole and its own", not wrong, f"{len(wrong)} are not {wrong[:SHOWN]}")


def _strangers(file: SinkFile, strangers: Collection[str]) -> Finding:
    mailed = [to for _, to in file.began if to in strangers]
    return Finding("P2 nobody without consent is mailed", not mailed, f"{len(mailed)} of {len(strangers)} were")


def _in_time(record: Record, file: SinkFile) -> Finding:
    after = [at - record.opted_out[to] for at, to in file.began if to in record.opted_out]
    late = [seconds for seconds in after if seconds > LATE_SECONDS]
    worst = max((seconds for seconds in after if seconds > 0), default=0.0)
    return Finding(
        "P3 an opt-out counts within a second", not late,
        f"{len(record.opted_out)} opted out, {len(late)} MAIL FROM too late, the last {worst:.2f} s after the answer",
    )  # fmt: skip


def _opt_outs_stand(record: Record, file: SinkFile, last_round: Collection[str]) -> Finding:
    unanswered = set(record.asked_out) - set(record.opted_out)
    untold = set(record.opted_out) - set(last_round)
    mailed = {str(row["to"]) for row in file.took if row["subject"] == LAST}
    return Finding(
        "P3 no opt-out is forgotten", not (unanswered or untold or mailed),
        f"{len(last_round)} people who had opted out were written to again, {len(mailed)} of them mailed; "
        f"{len(unanswered)} never got an answer",
    )  # fmt: skip


LAST = "last-round"
"""Subject of the message that goes to everybody who opted out."""


def _adds_up(record: Record, came: Counter[tuple[str, str]], row: Mapping[str, int]) -> Finding:
    """A message whose 250 was lost on the way is on the books too; so `accepted` may be more than was answered."""
    answered = sum(len(mail.recipients) for mail in record.taken.values())
    ends = row["delivered"] + row["bounced"]
    # a copy whose reply was lost, and whose person opted out before the second attempt, came and was kept out
    uncounted = len(came) - row["delivered"]
    may_be = sum(1 for _, to in came if to in record.asked_out)
    kept = (
        row["accepted"] == row["allowed"] + row["blocked"] + row["deferred"] and row["accepted"] >= answered
        and row["deferred"] == 0 and row["bounced"] == 0 and ends == row["allowed"] and 0 <= uncounted <= may_be
        and row["opted_out"] == len(record.asked_out)
    )  # fmt: skip
    told = ", ".join(f"{name} {row[name]}" for name in COUNTED)
    return Finding(
        "counters of the campaign report add up", kept,
        f"{told}; {answered} copies answered, {len(came)} different ones came",
    )  # fmt: skip


COUNTED = ("accepted", "allowed", "blocked", "deferred", "delivered", "bounced", "opted_out")
