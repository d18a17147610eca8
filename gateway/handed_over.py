"""Copies that the next server took, in a file before the store knows: a successor does not send them again.

A session that has its 250 waits for the transaction that writes it down. Whoever kills the process meanwhile leaves
copies claimed that have left, several of them at each kill. What was written to a file outlives the process, though not
the machine, and costs no wait for the disk. P1 stays as it is: a note that is missing costs a second copy, and none is
made for a copy that the server did not take.

A note holds ids, codes and a keyed hash, no address. A file that cannot be read or written is as good as none.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.store.columns import instant, milliseconds
from gateway.store.contract import Ending, Ruling
from gateway.store.waiting import CopyKey
from suppression.decision import Decision

LARGEST: Final = 256 * 1024
"""Octets from which on the file is begun anew, with those notes that the store does not have yet."""


class HandedOver:
    """The notes of one worker, who alone writes to the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._size = 0
        self._unwritten: dict[CopyKey, bytes] = {}

    def left(self) -> list[Ending]:
        """What the process before this one had sent and perhaps not told the store. `forget` once it is told."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return []
        found = (_ending(line) for line in lines)
        return list({_key(one): one for one in found if one is not None}.values())

    def note(self, ending: Ending) -> None:
        """Before the store is told. Only what was delivered, and brings no report with it, has a note."""
        if ending.state != "delivered" or ending.notice is not None:
            return
        line = _line(ending)
        self._unwritten[_key(ending)] = line
        with contextlib.suppress(OSError):
            if self._file is None or self._size > LARGEST:
                self._begin()
            else:
                self._size += os.write(self._file, line)

    def told(self, endings: Iterable[Ending]) -> None:
        """The store has them."""
        for ending in endings:
            self._unwritten.pop(_key(ending), None)

    def forget(self) -> None:
        """Empty the file, if the store has all that stands in it."""
        with contextlib.suppress(OSError):
            if not self._unwritten and (self._file is None or self._size):
                self._begin()

    def close(self) -> None:
        """End the notes; those the store does not have stay for the next process."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin(self) -> None:
        """A new file in the place of the old one, which counts until then."""
        beside = self._path.with_name(self._path.name + ".new")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            size = os.write(file, b"".join(self._unwritten.values()))
            beside.replace(self._path)
        except OSError:
            os.close(file)
            raise
        self.close()
        self._file, self._size = file, size


def _key(ending: Ending) -> CopyKey:
    return CopyKey(ending.controller_id, ending.message_id, ending.copy_no)


def _line(ending: Ending) -> bytes:
    decision = ending.ruling.decision
    return json.dumps({
        "controller_id": ending.controller_id, "message_id": ending.message_id.hex(), "copy_no": ending.copy_no,
        "stream": ending.stream, "campaign": ending.campaign, "was": ending.was, "reply": ending.reply,
        "at": milliseconds(ending.at), "mailed": ending.mailed, "confirmation_of": ending.confirmation_of,
        "recipient_key": None if ending.recipient_key is None else ending.recipient_key.hex(),
        "verdict": decision.verdict, "reason_code": decision.reason_code, "cite": decision.cite,
        "basis": decision.basis, "pack": decision.pack, "trace": decision.trace,
        "as_of": milliseconds(ending.ruling.as_of), "packs": ending.ruling.packs,
    }).encode() + b"\n"  # fmt: skip


def _ending(line: bytes) -> Ending | None:
    """None for a line that was cut off, or is none of ours."""
    try:
        said = json.loads(line)
        return Ending(
            controller_id=said["controller_id"], message_id=bytes.fromhex(said["message_id"]), copy_no=said["copy_no"],
            stream=said["stream"], campaign=said["campaign"], state="delivered", was=said["was"], reply=said["reply"],
            at=instant(said["at"]), mailed=said["mailed"], confirmation_of=said["confirmation_of"],
            recipient_key=None if said["recipient_key"] is None else bytes.fromhex(said["recipient_key"]),
            ruling=Ruling(
                decision=Decision(
                    verdict=said["verdict"], reason_code=said["reason_code"], cite=said["cite"], basis=said["basis"],
                    pack=said["pack"], trace=tuple(said["trace"]), findings=(),
                ),
                as_of=instant(said["as_of"]), packs=said["packs"],
            ),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None
