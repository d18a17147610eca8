"""One line of the log: key=value text or JSON, where it goes, and what it may never hold.

Lines name messages, copies, streams, logins and reason codes, never an address, a subject or a body (P9). `_redact` is
the last net under that rule: it masks what looks like an address. Of an exception only type and places are told.
"""

import contextlib
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_ADDRESS: Final = re.compile(r"(?<![^\s<>\"'()\[\],;:=])[^\s<>\"'()\[\],;:=]+@[^\s<>\"'()\[\],;:]+")


def shape(form: Literal["text", "json"] = "text", level: Level = "info", stream: TextIO | None = None) -> None:
    """Set form and least level of every line from now on."""
    last: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=_Stream(stream or sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


class _Stream:
    """A stream that may fail: the disk under the log may be full, or its reader gone, and mail goes on all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            if "@" in value:
                event[key] = _ADDRESS.sub("(address)", value)
        elif not isinstance(value, int | float | bool | None):
            event[key] = _ADDRESS.sub("(address)", str(value))
    return event


def trace_of(error: BaseException | None) -> str:
    """Type and places of an exception, innermost last, without its text: that may quote what a person wrote. Of a group
    its own, and those of its first."""
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = [f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}" for frame in frames]
    inner = [trace_of(error.exceptions[0])] if isinstance(error, BaseExceptionGroup) else []
    return " ".join([type(error).__name__, *places, *inner])
