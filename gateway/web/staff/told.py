"""Who was told of opt-outs and erasures, who still has to be, and which tools go on mailing people who opted out.

Counts and names of systems only. Whoever keeps the machine, or answers for privacy, may try again or stop trying; both
are written to the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.record import staff_acts
from gateway.store.telling import JobCount
from gateway.web.public.form import read_form
from gateway.web.staff.desk import Desk, Visitor

DRIFT_FOR: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """One system that is told. `since`: of the oldest job that waits. `said`: its last word, where it was not told."""

    controller: str
    target: str
    done: int
    waiting: int
    given_up: int
    since: datetime | None
    said: str


class Told:
    """The page `/staff/told`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        page = self._desk.page
        return [
            Route("/staff/told", page("told", self.show), methods=["GET"]),
            Route("/staff/told", page("tell", self.change), methods=["POST"]),
        ]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Systems with their counts, and what each login still tried."""
        store, now = self._desk.site.store, self._desk.site.clock()
        found = [row for name in visitor.controllers for row in await store.write_back_counts(name)]
        drift = [row for name in visitor.controllers for row in await store.drift(name, since=now - DRIFT_FOR)]
        return self._desk.show(
            "told", visitor, place="told", addressees=addressees(found), drift=drift, may_tell=visitor.may("tell"),
            several=len(visitor.controllers) > 1, set_up=any(
                one.webhooks or one.tools or one.write_back_hosts for one in visitor.controllers.values()
            ),
        )  # fmt: skip

    async def change(self, request: Request, visitor: Visitor) -> Response:
        """Try what a system was not told again, or let it be."""
        site, form = self._desk.site, await read_form(request)
        controller, target, what = form.get("controller", ""), form.get("target", ""), form.get("what", "")
        if controller not in visitor.controllers or what not in ("again", "drop") or not target:
            return self._desk.gone(visitor)
        now = site.clock()
        changed = await site.store.change_write_backs(
            controller, job_id=None, target=target, to="waiting" if what == "again" else "dropped", now=now
        )
        act = "write_back_retried" if what == "again" else "write_back_dropped"
        acts = staff_acts(
            [controller], act, by=visitor.staff.roles[0], at=now, private={"user": visitor.staff.name}, target=target,
            jobs=changed,
        )  # fmt: skip
        for note in acts if changed else ():
            await site.store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)
        return RedirectResponse("/staff/told", 303)


def addressees(counts: Iterable[JobCount]) -> list[Addressee]:
    """One row for each system, from the counts of its jobs by state; dropped ones are nobody's concern."""
    by_state: dict[tuple[str, str], dict[str, JobCount]] = {}
    for row in counts:
        by_state.setdefault((row.controller, row.target), {})[row.state] = row
    return [
        Addressee(
            controller=controller, target=target, done=_jobs(found.get("done")), waiting=_jobs(found.get("waiting")),
            given_up=_jobs(found.get("failed")), since=found["waiting"].oldest if "waiting" in found else None,
            said=next((found[state].said for state in ("failed", "waiting") if state in found), ""),
        )
        for (controller, target), found in by_state.items()
        if found.keys() != {"dropped"}
    ]  # fmt: skip


def _jobs(row: JobCount | None) -> int:
    return 0 if row is None else row.jobs
