"""The judge of a chaos run: a broken promise of any kind is found, and a run that kept them all is told as such."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.chaos_load import Mail, Record, SinkFile
from bench.chaos_sink import described
from bench.chaos_verdict import LAST, Books, findings

ANNA, WIM, STRANGER = "anna@example.org", "wim@example.org", "stranger0@example.org"


class Run:
    """Two messages that were answered: one to anna, one to wim, who opted out at 100 s, and to a stranger."""

    def __init__(self, folder: Path) -> None:
        first, second = Mail("chaos-1", (ANNA,)), Mail("chaos-2", (WIM, STRANGER))
        self.record = Record(
            offered={"chaos-1": first, "chaos-2": second}, taken={"id-1": first, "id-2": second},
            asked_out={WIM: 99.5}, opted_out={WIM: 100.0},
        )  # fmt: skip
        self.rows: list[dict[str, Any]] = []
        self.came(ANNA, "id-1", "chaos-1", 50.0)
        self.came(WIM, "id-0", "chaos-2", 100.9)  # its 250 was lost on the way, so the tool handed it in again
        self.campaign = {
            "accepted": 5,
            "allowed": 2,
            "blocked": 3,
            "deferred": 0,
            "delivered": 2,
            "bounced": 0,
            "opted_out": 1,
        }
        self.waiting: list[dict[str, object]] = []
        self.codes = {"ledger verify": (0, "whole")}
        self.last_round = [WIM]
        self._file = folder / "sink.jsonl"

    def came(self, to: str, named: str, subject: str, at: float) -> None:
        """The next server took a copy."""
        self.rows.append({"what": "began", "at": at, "to": to})
        self.rows.append(
            {"what": "took", "at": at, "to": to, "id": named, "subject": subject, "link": "/o/x", "whole": True}
        )

    def broken(self) -> list[str]:
        """The promises that were not kept."""
        self._file.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        file = SinkFile(self._file)
        file.read()
        books = Books(campaign=self.campaign, waiting=self.waiting, commands=self.codes)
        found = findings(self.record, file, books, strangers={STRANGER}, last_round=self.last_round)
        return [one.promise for one in found if not one.kept]


def test_a_run_that_kept_every_promise(tmp_path: Path) -> None:
    assert Run(tmp_path).broken() == []


def _lose(run: Run) -> None:
    run.rows = [row for row in run.rows if row["to"] != ANNA]
    run.campaign |= {"allowed": 1, "blocked": 4, "delivered": 1}


def _late(run: Run) -> None:
    run.rows.append({"what": "began", "at": 101.01, "to": WIM})


def _forget(run: Run) -> None:
    run.record.offered[LAST] = run.record.taken["id-9"] = Mail(LAST, (WIM,))
    run.came(WIM, "id-9", LAST, 100.5)
    run.campaign |= {"accepted": 6, "allowed": 3, "delivered": 3}


def _refuse(run: Run) -> None:
    run.record.refused.append("550 5.7.1 NO")


def _leave(run: Run) -> None:
    run.waiting.append({"state": "claimed"})


def _cut(run: Run) -> None:
    run.rows[1]["whole"] = False


def _mix_up(run: Run) -> None:
    run.rows[1]["subject"] = "chaos-2"


def _mail_a_stranger(run: Run) -> None:
    run.rows.append({"what": "began", "at": 10.0, "to": STRANGER})


def _miscount(run: Run) -> None:
    run.campaign["delivered"] = 1


def _forget_a_copy(run: Run) -> None:
    run.campaign |= {"accepted": 2, "blocked": 0}


def _fork(run: Run) -> None:
    run.codes = {"ledger verify": (1, "forked")}


@pytest.mark.parametrize(
    ("do", "promise"),
    [
        (_lose, "P1 every 250 arrived"),
        (lambda run: run.came(ANNA, "id-1", "chaos-1", 51.0), "P1 few come twice"),
        (_cut, "each copy is whole and its own"),
        (_mix_up, "each copy is whole and its own"),
        (_mail_a_stranger, "P2 nobody without consent is mailed"),
        (_late, "P3 an opt-out counts within a second"),
        (_forget, "P3 no opt-out is forgotten"),
        (lambda run: run.record.asked_out.update({ANNA: 1.0}), "P3 no opt-out is forgotten"),
        (_refuse, "P5 no tool is told that its mail is wrong"),
        (_leave, "nothing is left in the queue"),
        (_miscount, "counters of the campaign report add up"),
        (_forget_a_copy, "counters of the campaign report add up"),
        (_fork, "ledger verify"),
    ],
)
def test_what_was_broken_is_named(tmp_path: Path, do: Callable[[Run], None], promise: str) -> None:
    run = Run(tmp_path)
    do(run)
    assert promise in run.broken()


def test_what_the_sink_reads_of_a_copy() -> None:
    raw = (
        b"\r\nReceived: from x ([127.0.0.1])\r\n by gw (Consentgate) with ESMTPA id "
        b"01a20281-5efb-7120-a3e2-c105ce3c5406;\r\n now\r\nSubject: chaos-7\r\n"
        b"List-Unsubscribe: <http://127.0.0.1:1/o/abc>, <mailto:x@example.org>\r\n\r\n"
        b"[end chaos-7]\r\n--b1--\r\n"
    )
    read = {"id": "01a20281-5efb-7120-a3e2-c105ce3c5406", "subject": "chaos-7", "link": "/o/abc"}
    assert described(raw) == {**read, "whole": True}
    assert described(raw.replace(b"--b1--\r\n", b"")) == {**read, "whole": False}
    assert described(raw.replace(b"[end chaos-7]", b"[end chaos-8]")) == {**read, "whole": False}
