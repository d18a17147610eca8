"""The first page after signing in: how much went out, what was kept out and why, the latest campaigns."""

import contextlib
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import report
from gateway.backlog import backlog
from gateway.config import Config, Stream
from gateway.host_faults import to_be_shown
from gateway.store.faults import HostFault
from gateway.web.staff.campaigns import campaign_id
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import funnel

_COUNTED = 500
_SHOWN = 12


class Overview:
    """The page `/staff`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [Route("/staff", self._desk.page("overview", self.show), methods=["GET"])]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Numbers for every role; campaigns by name for those who may see content. Empty: how to begin."""
        site = self._desk.site
        rows = await report.campaigns(site.store, controllers=visitor.controllers, limit=_COUNTED)
        if not rows:
            return self._desk.show(
                "start", visitor, place="overview", modes=modes(visitor, site.clock()),
                **connection(site.config, visitor),
            )  # fmt: skip
        latest = [(campaign_id(row), row) for row in rows[:_SHOWN]] if visitor.may("campaigns") else []
        return self._desk.show(
            "overview", visitor, place="overview", funnel=funnel(rows), campaigns=latest, counted=len(rows),
            more=len(rows) > _SHOWN, backlog=await backlog(site.store, visitor.controllers, site.clock()),
            modes=modes(visitor, site.clock()),
            checks=[
                one for controller_id in visitor.controllers for one in await site.store.checks(controller_id)
                if not one.well
            ],
            faults=await self._faults(visitor),
        )  # fmt: skip

    async def _faults(self, visitor: Visitor) -> list[HostFault]:
        """Smarthosts behind the visitor's streams that cannot be used."""
        site = self._desk.site
        routes = {s.route for controller in visitor.controllers.values() for s in controller.streams.values()}
        shown = to_be_shown(await site.store.host_faults(), site.config, site.clock())
        return [fault for fault in shown if fault.route in routes]


def modes(visitor: Visitor, now: datetime) -> list[Stream]:
    """The visitor's streams that do something else than enforce, and everybody has to know."""
    streams = [stream for controller in visitor.controllers.values() for stream in controller.streams.values()]
    return [stream for stream in streams if stream.mode_at(now) != "enforce"]


def connection(config: Config, visitor: Visitor) -> dict[str, Any]:
    """What to type into the mailing tool: host, port, security and logins of the visitor's controllers."""
    listener = (config.listen.submission or config.listen.submissions)[:1]
    host, port = listener[0] if listener else (config.hostname, 587)
    with contextlib.suppress(ValueError):  # a name, not an address
        host = config.hostname if ip_address(host).is_unspecified else host
    logins = [
        (login.name, login.streams[0]) for login in config.logins.values() if login.controller in visitor.controllers
    ]
    security = "STARTTLS" if config.tls and config.listen.submission else ("TLS" if config.tls else None)
    return {"host": host, "port": port, "security": security, "logins": logins}
