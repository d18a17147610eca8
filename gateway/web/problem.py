"""What the API says when it refuses: RFC 9457 problem details, with the field at fault and what to do.

The text is for the programmer who reads it. It never repeats what was sent: that may hold an address, and such bodies
end up in logs (DESIGN.md P9).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"


_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail", "remedy"],
                "properties": {name: {"type": "string"} for name in ("field", "detail", "remedy")},
            },
        },
    },
}  # fmt: skip


def described(said: str) -> dict[str, Any]:
    """A refusal as the API's description has it."""
    return {"description": said, "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request. `field` is its path in the body, as `purposes.0`."""

    field: str
    detail: str
    remedy: str


class Problem(Exception):
    """A refusal as its own exception: routes raise it, the application answers with it."""

    def __init__(
        self, status: int, detail: str, *, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.faults, self.headers = status, detail, tuple(faults), dict(headers or {})

    def body(self) -> bytes:
        """The JSON document (RFC 9457 section 3); its type is "about:blank", so that the title is the status's."""
        said: dict[str, object] = {
            "type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status,
            "detail": self.detail,
        }  # fmt: skip
        if self.faults:
            said["errors"] = [asdict(fault) for fault in self.faults]
        return json.dumps(said).encode()

    def response(self) -> Response:
        """The whole answer."""
        return Response(self.body(), self.status, self.headers, media_type=MEDIA_TYPE)


_SAID: Final[Mapping[int, str]] = {
    400: "The body cannot be read: send JSON in UTF-8, nested no deeper than described in /api/v1/openapi.json.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is too large: 64 KiB at most.",
    503: "Not now: nothing was stored. Send the same request again in a minute.",
}


def plain(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem behind a bare status."""
    more = {"Retry-After": "60"} if status == 503 else {}
    return Problem(status, _SAID.get(status, HTTPStatus(status).phrase), headers={**more, **(headers or {})})
