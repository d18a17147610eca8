"""Consents and their proof: how good the whole list is, which wordings are in use, and what would raise it.

Wordings and lists of third parties hold no personal data but the names of staff who checked, which are not shown here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import Controller
from gateway.store.material import KeptMeter
from gateway.web.public.wording import as_shown
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import segments
from suppression.consent import SOURCES
from suppression.evidence import LACKS, LEVELS, SPOKEN, STAFF_METHOD
from suppression.proof_meter import weakest

LISTED: Final = 50


class Consents:
    """The page `/staff/consents`, and one wording below it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        one = "/staff/consents/wordings/{controller}/{digest}"
        return [
            Route("/staff/consents", self._desk.page("consents", self.show), methods=["GET"]),
            Route(one, self._desk.page("consents", self.wording), methods=["GET"]),
        ]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The lists of those controllers the visitor works for, as last counted."""
        store = self._desk.site.store
        lists = []
        for controller in visitor.controllers.values():
            kept = await store.meter(controller.id)
            lists.append(await self._list(visitor, controller, kept) if kept is not None else _uncounted(controller))
        return self._desk.show("consents", visitor, place="consents", lists=lists)

    async def wording(self, request: Request, visitor: Visitor) -> Response:
        """What people were shown, as text: a snapshot of a form is never run."""
        controller = visitor.controllers.get(request.path_params["controller"])
        wanted = request.path_params["digest"]
        if controller is None or not re.fullmatch("[0-9a-f]{64}", wanted):
            return self._desk.gone(visitor)
        kept = await self._desk.site.store.wording(controller.id, bytes.fromhex(wanted))
        if kept is None:
            return self._desk.gone(visitor)
        return self._desk.show(
            "wording", visitor, place="consents", kept=kept, shown=as_shown(kept.wording),
            purposes=[
                self._desk.site.words.purpose(controller, name, visitor.language) for name in kept.wording.purposes
            ],
        )  # fmt: skip

    async def _list(self, visitor: Visitor, controller: Controller, kept: KeptMeter) -> Mapping[str, Any]:
        meter, store, words = kept.meter, self._desk.site.store, self._desk.site.words
        whole, strongest_first = meter.agreed, tuple(reversed(LEVELS))
        best: dict[str, int] = {level: meter.best[level] for level in strongest_first}
        wordings = [
            {
                "version": words.text(visitor.language, "consents.spoken") if version == SPOKEN else version,
                "spoken": version == SPOKEN,
                "count": n, "kept": await store.wording(controller.id, version),
            }
            for version, n in meter.wordings.most_common(LISTED)
        ]  # fmt: skip
        purposes = [
            {
                "title": words.purpose(controller, name, visitor.language) if name in controller.purposes else name,
                "count": counts.total(),
                "bar": segments({level: counts[level] for level in strongest_first}, counts.total()),
                "counts": {level: counts[level] for level in strongest_first},
            }
            for name, counts in sorted(meter.purposes.items(), key=lambda one: -one[1].total())
        ]  # fmt: skip
        return {
            "controller": controller, "counted": True, "at": kept.counted_at, "agreed": whole, "best": best,
            "bar": segments(best, whole), "wordings": wordings, "purposes": purposes,
            "lacks": [(name, n) for name, n in meter.lacks.most_common() if name in LACKS],
            "third_parties": [one.source for one in await store.sources(controller.id)],
            "staff_method": STAFF_METHOD,
            "ways": [(*_way(name), weak, of) for name, weak, of in weakest(meter, LISTED)],
        }  # fmt: skip


def _uncounted(controller: Controller) -> Mapping[str, Any]:
    return {"controller": controller, "counted": False}


def _way(name: str) -> tuple[str | None, str]:
    """A way of collection: where it came from, as a name for the catalogue, and how; neither for all the others."""
    source, _, method = name.partition("/")
    return (source, method) if source in SOURCES else (None, "")
