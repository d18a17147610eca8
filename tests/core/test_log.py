"""The log: one line per event, nothing personal in it, whatever is passed by mistake."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from gateway import log, log_line


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines; afterwards the log is as it was at import."""
    handlers = logging.root.handlers[:]
    stream = io.StringIO()
    log.configure("json", "info", stream)
    yield stream
    log.configure("text", "error", io.StringIO())
    logging.root.handlers[:] = handlers


def last(stream: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return found


def test_an_event_is_one_line_with_its_fields_and_a_time(lines: io.StringIO) -> None:
    log.kept_out(copy="0a/1", route="main", reason_code="SUPPRESSED_PURPOSE")
    said = last(lines)
    assert str(said.pop("timestamp")).endswith("Z")
    assert said == {
        "event": "kept_out", "level": "info", "copy": "0a/1", "route": "main", "reason_code": "SUPPRESSED_PURPOSE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "anna@example.org",
        "to <anna@example.org>: no",
        "a,anna@example.org;b",
        "RCPT TO:<anna+x@example.org>",
        "ännä@exämple.org",
    ],
)
def test_whatever_looks_like_an_address_is_masked(lines: io.StringIO, text: str) -> None:
    log.refused(controller="acme", stream=text, code=550, reason=text)
    assert "@" not in lines.getvalue()
    assert "nn" not in str(last(lines)["reason"]).replace("(address)", "")


def test_an_exception_leaves_type_and_place_but_never_its_text(lines: io.StringIO) -> None:
    try:
        raise ValueError("subject of anna")
    except ValueError as error:
        log.bug(where="accept", error=error)
    said = last(lines)
    assert str(said["trace"]).startswith("ValueError core/test_log.py:")
    assert "anna" not in lines.getvalue()


def test_warnings_of_libraries_are_told_without_their_values(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("peer said %r", "anna")
    assert last(lines)["said"] == "peer said %r"
    before = lines.getvalue()
    logging.getLogger("some.library").info("peer came")
    assert lines.getvalue() == before


def test_the_level_is_a_floor_and_counters_count_below_it(lines: io.StringIO) -> None:
    def count() -> float:
        labels = {"decision": "block", "reason_code": "RECIPIENT_UNKNOWN"}
        return REGISTRY.get_sample_value("consentgate_decisions_total", labels) or 0

    before = count()
    log.decided(decision="block", reason_code="RECIPIENT_UNKNOWN", count=3)
    assert lines.getvalue() == ""
    assert count() == before + 3


def test_text_form_is_key_value() -> None:
    stream = io.StringIO()
    log.configure("text", "info", stream)
    log.stopping(cause="signal, at last\nforged=line")
    said = stream.getvalue()
    log.configure("text", "error", io.StringIO())
    assert said.count("\n") == 1
    assert " level=info event=stopping cause=" in said


def test_the_trace_of_several_errors_names_the_first_of_them() -> None:
    """A task that fails takes its group along, whose own trace says nothing of it."""
    try:
        raise KeyError("anna@example.org")
    except KeyError as error:
        trace = log_line.trace_of(ExceptionGroup("tasks", [error]))
    assert trace.startswith("ExceptionGroup KeyError ") and "test_log.py" in trace and "anna" not in trace
