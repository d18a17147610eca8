"""The envelope that leaves: MAIL FROM in our return path, so that reports on a copy come back here (VERP).

What the tool asked of delivery reports stays (RFC 3461): RET, ENVID and ORCPT go out as they came in, so that what is
passed on to the tool is what it asked for. NOTIFY gets FAILURE added where the tool left it out: reports come to us
now, and whether the tool hears of them is settled when they do (forward.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.config import Config, Controller, Stream
from gateway.keys import return_keys
from gateway.mail.envelope import Rcpt
from gateway.render import Original
from suppression.vault import KeyRing


class ReturnPaths:
    """Gives each copy its own. Made anew when the configuration changes."""

    def __init__(self, config: Config, ring: KeyRing) -> None:
        self._keys = {one: return_keys(ring, one) for one in config.controllers}
        self._kept = {name for name, route in config.routes.items() if route.keeps_return_path}

    def ours(self, controller: Controller, stream: Stream) -> bool:
        """Whether reports on mail of a stream come back to us."""
        return controller.return_domain is not None and stream.route in self._kept

    def outer(self, original: Original, copy_no: int, mail_from: str, rcpt: Rcpt) -> tuple[str, Rcpt]:
        """MAIL FROM and RCPT of one copy as they leave. The null sender stays: nothing may come back on that."""
        controller, stream = original.controller, original.stream
        keys = self._keys.get(controller.id)
        if not mail_from or keys is None or not self.ours(controller, stream):
            return mail_from, rcpt
        if rcpt.notify and "FAILURE" not in rcpt.notify and stream.bounces != "forward":
            rcpt = replace(rcpt, notify=(rcpt.notify - {"NEVER"}) | {"FAILURE"})
        return f"{keys.make(original.message_id, copy_no)}@{controller.return_domain}", rcpt

    def return_to(
        self, controller: Controller, stream: Stream, mail_from: str, notify: Mapping[int, frozenset[str]]
    ) -> dict[str, Any] | None:
        """What is kept of the envelope that came in, to pass reports on by: MAIL FROM, and NOTIFY by copy."""
        if not mail_from or stream.bounces == "consume" or not self.ours(controller, stream):
            return None
        asked = {str(copy_no): sorted(named) for copy_no, named in notify.items() if named}
        return {"mail_from": mail_from, **({"notify": asked} if asked else {})}
