"""What the gateway says of itself: one function per event, and the counters that go with it.

Lines go to standard error, formed by log_line.py. They name messages, copies, streams, logins and reason codes, never
an address, a subject or a body (P9). Counters (counters.py) are read at /metrics. docs/log-events.md lists events and
counters, held against this module by a test.
"""

import logging
from collections.abc import Iterable
from typing import Any, Literal, TextIO

import structlog

from gateway.counters import (
    ACCEPT_SECONDS,
    BUGS,
    CAMPAIGNS_STOPPED,
    COPIES,
    DECISIONS,
    HAND_OVER_SECONDS,
    HOOK_EVENTS,
    HOOKS_REFUSED,
    HOSTS_FAILED,
    LOGIN_FAILURES,
    MESSAGES,
    OPT_OUTS,
    REFUSED_CONNECTIONS,
    REFUSING,
    REPLIES_LOST,
    REPORTS,
    REPORTS_LIMITED,
    RESTING,
    SIGN_UPS,
    SIGNATURES,
    STORE_FAILURES,
    TLS,
    TOLD,
    WORKERS_DIED,
)
from gateway.log_line import Level, shape, trace_of

_log: Any = structlog.get_logger()


def configure(form: Literal["text", "json"] = "text", level: Level = "info", stream: TextIO | None = None) -> None:
    """Set form and least level of the log, once at start; libraries' warnings take the same way."""
    shape(form, level, stream)
    global _log
    _log = structlog.get_logger().bind()
    logging.root.handlers[:] = [_Foreign(level=logging.WARNING)]


class _Foreign(logging.Handler):
    """Warnings of libraries, as our event `library`; their texts may hold anything, so only the template is kept."""

    def emit(self, record: logging.LogRecord) -> None:
        library(name=record.name, said=str(record.msg), error=record.exc_info[1] if record.exc_info else None)


# The life of the process


def started(*, version: str, controllers: int, streams: int) -> None:
    """The configuration is loaded and the listeners are bound; nothing is accepted yet."""
    _log.info("started", version=version, controllers=controllers, streams=streams)


def ready(*, listeners: Iterable[str]) -> None:
    """Every listener accepts connections."""
    _log.info("ready", listeners=" ".join(listeners))


def reloaded(*, controllers: int, streams: int) -> None:
    """A new configuration is in force (SIGHUP)."""
    _log.info("reloaded", controllers=controllers, streams=streams)


def reload_refused(*, problems: int) -> None:
    """The new configuration has problems; the old one stays in force."""
    _log.error("reload_refused", problems=problems)


def stopping(*, cause: str) -> None:
    """No new mail is taken; hand-overs under way are finished."""
    _log.info("stopping", cause=cause)


def stopped(*, waiting: int) -> None:
    """The last task has ended; `waiting` copies stay in the queue."""
    _log.info("stopped", waiting=waiting)


def worker_died(*, worker: int, status: int, again_in: float) -> None:
    """A worker process ended by itself. `status`: exit code, or the signal's number, negative. Another takes its place
    after `again_in` seconds, which grow while it keeps dying; the others go on."""
    WORKERS_DIED.inc()
    _log.error("worker_died", worker=worker, status=status, again_in=again_in)


def worker_hung(*, worker: int, seconds: int) -> None:
    """A worker process showed no sign of life for so long; it is killed, and replaced."""
    _log.error("worker_hung", worker=worker, seconds=seconds)


def restart_needed(*, settings: str) -> None:
    """These settings were changed and take effect at the next start only; everything else is in force."""
    _log.warning("restart_needed", settings=settings)


def files_short(*, files: int, connections: int) -> None:
    """The system lets us open too few files for `limits.connections`: so many connections are let in instead."""
    _log.warning("files_short", files=files, connections=connections)


def bug(*, where: str, error: BaseException) -> None:
    """An exception nobody expected was caught at the edge named by `where`."""
    BUGS.labels(where).inc()
    _log.error("bug", where=where, trace=trace_of(error))


def library(*, name: str, said: str, error: BaseException | None) -> None:
    """A library warned."""
    _log.warning("library", name=name, said=said, trace=trace_of(error))


def store_unavailable(*, where: str, error: BaseException) -> None:
    """The database could not be read or written; the peer was told to come back (P5)."""
    STORE_FAILURES.labels(where).inc()
    _log.error("store_unavailable", where=where, trace=trace_of(error))


def name_taken(*, worker: str) -> None:
    """While the database was away another gateway came up under our name. This one stops, with exit code 1: set `node`
    to another name on one of them."""
    _log.error("name_taken", worker=worker)


def ledger_broken(*, controller: str) -> None:
    """The record of where a ledger ends was changed: nothing is sealed behind it. See `consentgate ledger verify`."""
    _log.error("ledger_broken", controller=controller)


def person_erased(*, controller: str, already: bool, wiped: bool) -> None:
    """A person was erased; `already`: again. `wiped`: nothing is left in the databases' logs, else that follows."""
    _log.info("person_erased", controller=controller, already=already, wiped=wiped)


# Mail coming in


def connection_refused(*, listener: str, cause: Literal["full", "too many from one address", "stopping"]) -> None:
    """An SMTP connection was turned away with 421."""
    REFUSED_CONNECTIONS.labels(cause).inc()
    _log.warning("connection_refused", listener=listener, cause=cause)


def reports_limited() -> None:
    """A peer sends more to the return path than `limits.reports_per_minute`: it was told to come again. A line at level
    debug only: a flood must not fill the log."""
    REPORTS_LIMITED.inc()
    _log.debug("reports_limited")


def login_failed(*, door: Literal["smtp", "web", "api"], cause: str, login: str | None = None) -> None:
    """A login was refused. `login` is given only when it is one of the configuration."""
    LOGIN_FAILURES.labels(door).inc()
    _log.warning("login_failed", door=door, cause=cause, login=login)


def session_cut(*, listener: str, cause: str) -> None:
    """An SMTP session was ended by us: silent too long, or not speaking the protocol."""
    _log.info("session_cut", listener=listener, cause=cause)


def accepted(
    *,
    message_id: str,
    controller: str,
    stream: str,
    size: int,
    allowed: int,
    blocked: int,
    deferred: int,
    seconds: float,
) -> None:
    """A message was committed and answered 250."""
    MESSAGES.labels("accepted").inc()
    ACCEPT_SECONDS.observe(seconds)
    _log.info(
        "accepted", message_id=message_id, controller=controller, stream=stream, size=size, allowed=allowed,
        blocked=blocked, deferred=deferred,
    )  # fmt: skip


def refused(*, controller: str, stream: str | None, code: int, reason: str, message_id: str | None = None) -> None:
    """A message was answered 4yz or 5yz after DATA; `reason` is a reason code or the name of a reply."""
    MESSAGES.labels("refused").inc()
    _log.warning(
        "refused", controller=controller, stream=stream, code=code, reason=reason, message_id=message_id
    )  # fmt: skip


def mislabelled(*, controller: str, stream: str, handling: str, signs: Iterable[str], message_id: str) -> None:
    """Mail of a service stream looks like advertising; `handling`: block, hold, flag; service where staff said so."""
    _log.warning(
        "mislabelled", controller=controller, stream=stream, handling=handling, signs=list(signs), message_id=message_id
    )  # fmt: skip


def held_ended(*, controller: str, message_id: str, copies: int, why: str) -> None:
    """Held mail was given up: somebody said that it is advertising, or nobody answered in time."""
    _log.warning("held_ended", controller=controller, message_id=message_id, copies=copies, why=why)


def decided(*, decision: str, reason_code: str, count: int = 1) -> None:
    """Decisions were made; a counter, and a line only at level debug."""
    DECISIONS.labels(decision, reason_code).inc(count)
    _log.debug("decided", decision=decision, reason_code=reason_code, count=count)


def queue_refuses(*, cause: str) -> None:
    """The queue or the disk is nearly full: new mail is answered 452 from now on."""
    REFUSING.set(1)
    _log.error("queue_refuses", cause=cause)


def queue_accepts() -> None:
    """There is room again: new mail is taken."""
    REFUSING.set(0)
    _log.info("queue_accepts")


def turned_away(*, cause: str) -> None:
    """One message answered 452, since the queue or the disk is nearly full."""
    MESSAGES.labels("no room").inc()
    _log.debug("turned_away", cause=cause)


# Mail going out


def delivered(*, copy: str, route: str, attempts: int, seconds: float) -> None:
    """The next hop took a copy."""
    COPIES.labels(route, "delivered").inc()
    HAND_OVER_SECONDS.observe(seconds)
    _log.info("delivered", copy=copy, route=route, attempts=attempts)


def signature_checked(*, copy: str, key: str, why: str) -> None:
    """A signature of ours was verified from the octets that left; a line only where it does not hold: `why`."""
    SIGNATURES.labels("broken" if why else "good").inc()
    if why:
        _log.error("signature_checked", copy=copy, key=key, why=why)


def tls_tried(*, policy: str, result: str) -> None:
    """TLS with a mail server of recipients, under TLSA records, an MTA-STS policy or none; a line where it failed."""
    TLS.labels(policy, result).inc()
    if result != "success":
        _log.info("tls_tried", policy=policy, result=result)


def server_rests(
    *, route: str, failures: int, seconds: int, stage: str, code: int | None, enhanced: str | None
) -> None:
    """A mail server of recipients failed so often in a row; nothing goes there for so many seconds."""
    _log.info(
        "server_rests", route=route, failures=failures, seconds=seconds, stage=stage, code=code, enhanced=enhanced
    )


def captured(*, copy: str, route: str) -> None:
    """A copy was kept on a capture route; nothing left."""
    COPIES.labels(route, "captured").inc()
    _log.info("captured", copy=copy, route=route)


def route_rests(
    *, route: str, failures: int, seconds: float, stage: str, code: int | None, enhanced: str | None
) -> None:
    """No server of a route can be used. Copies wait without being tried, and one tries again in so many seconds."""
    RESTING.labels(route).set(1)
    _log.warning(
        "route_rests", route=route, failures=failures, seconds=seconds, stage=stage, code=code, enhanced=enhanced
    )


def route_works(*, route: str) -> None:
    """A server of a route answered again."""
    RESTING.labels(route).set(0)
    _log.info("route_works", route=route)


def tried(*, copy: str, route: str, stage: str, code: int | None, enhanced: str | None, attempts: int) -> None:
    """A copy could not be handed over now and will be tried again."""
    COPIES.labels(route, "retry").inc()
    _log.info("tried", copy=copy, route=route, stage=stage, code=code, enhanced=enhanced, attempts=attempts)


def reply_lost(*, copy: str, route: str) -> None:
    """The whole copy was sent and no reply came: it goes again, and may arrive twice."""
    REPLIES_LOST.labels(route).inc()
    _log.warning("reply_lost", copy=copy, route=route)


def host_failed(*, route: str, host: str, stage: str, code: int | None, said: str, told: bool) -> None:
    """A smarthost cannot be used: it is down, refuses our login (stage auth), has no TLS we may use (starttls) ...

    `told`: within the last minute, so that this is only counted.
    """
    HOSTS_FAILED.labels(route, stage).inc()
    if not told:
        _log.error("host_failed", route=route, host=host, stage=stage, code=code, said=said)


def host_well(*, route: str, host: str) -> None:
    """A smarthost that could not be used can be again."""
    _log.info("host_well", route=route, host=host)


def failed(*, copy: str, route: str, stage: str, code: int | None, enhanced: str | None, attempts: int) -> None:
    """A copy is given up."""
    COPIES.labels(route, "failed").inc()
    _log.warning("failed", copy=copy, route=route, stage=stage, code=code, enhanced=enhanced, attempts=attempts)


def kept_out(*, copy: str, route: str, reason_code: str) -> None:
    """The check at hand-over stopped a copy that had been allowed when it came in (P2)."""
    COPIES.labels(route, "kept_out").inc()
    _log.info("kept_out", copy=copy, route=route, reason_code=reason_code)


def held(*, message_id: str, stage: str, error: BaseException) -> None:
    """A message could not be handled by us; it is kept and set aside for a person."""
    BUGS.labels(stage).inc()
    _log.error("held", message_id=message_id, stage=stage, trace=trace_of(error))


def template_unfit(*, controller: str, letter: str, error: BaseException) -> None:
    """A controller's own template of a letter cannot be used; ours was taken. See `consentgate letter check`."""
    _log.error("template_unfit", controller=controller, letter=letter, trace=trace_of(error))


def letters_written(*, queued: int, settled: int) -> None:
    """Letters that were due are in the queue; `settled`: of those, so many that turned out not to be owed."""
    _log.info("letters_written", queued=queued, settled=settled)


def letter_put_off(*, controller: str, letter: str, error: BaseException) -> None:
    """A letter that is due could not be written; it is tried again."""
    BUGS.labels("letter").inc()
    _log.error("letter_put_off", controller=controller, letter=letter, trace=trace_of(error))


def taken_back(*, copies: int) -> None:
    """Copies claimed before a crash, by a worker that is gone, or by a claim whose answer was lost, are in the queue
    again."""
    _log.info("taken_back", copies=copies)


def clock_stepped(*, seconds: int) -> None:
    """The clock was set by so many seconds while the gateway ran; negative: back. Where it was set forward, nothing is
    given up or deleted for its age alone for an hour."""
    _log.warning("clock_stepped", seconds=seconds)


def redated(*, copies: int) -> None:
    """After the clock was set back: so many copies would have waited until the time of before, and do not."""
    _log.info("redated", copies=copies)


def handed_over_before(*, copies: int) -> None:
    """Copies that a killed process had handed over and not told the store; they do not go again."""
    _log.info("handed_over_before", copies=copies)


def rehearsal_released(*, controller: str, stream: str, queued: int, blocked: int) -> None:
    """The lawful part of a rehearsed campaign went to the queue; the rest was kept out."""
    _log.info("rehearsal_released", controller=controller, stream=stream, queued=queued, blocked=blocked)


# Pages


def web_request(route: str, method: str, status: int, seconds: float) -> None:
    """A page was answered. `route` is the pattern, never the path: a path holds a person's link."""
    _log.debug("web_request", route=route, method=method, status=status, seconds=round(seconds, 4))


# What people say


def opted_out(*, controller: str, channel: str, scope: str, already: bool) -> None:
    """An opt-out is committed. `already`: it stood before."""
    OPT_OUTS.labels(channel, scope).inc()
    _log.info("opted_out", controller=controller, channel=channel, scope=scope, already=already)


def signed_up(*, controller: str, form: str | None, outcome: str) -> None:
    """A sign-up was taken. `outcome`: kept, limited (too many, nothing is kept), again or other (the API's repeats)."""
    SIGN_UPS.labels(outcome).inc()
    _log.info("signed_up", controller=controller, form=form, outcome=outcome)


def confirmed(*, controller: str, lifted: int, minutes: int) -> None:
    """A sign-up was confirmed from its mailbox, so long after it was asked. `lifted`: opt-outs that it overruled."""
    SIGN_UPS.labels("confirmed").inc()
    _log.info("confirmed", controller=controller, lifted=lifted, minutes=minutes)


def sign_ups_expired(*, requests: int, forgotten: int) -> None:
    """Sign-ups were not confirmed in time. `forgotten`: people of whom nothing else was known."""
    SIGN_UPS.labels("expired").inc(requests)
    _log.info("sign_ups_expired", requests=requests, forgotten=forgotten)


def link_unreadable(*, kind: str) -> None:
    """A link could not be opened; the person got the form instead."""
    _log.info("link_unreadable", kind=kind)


def campaign_warned(*, campaign: str, complaints: int, sent: int) -> None:
    """One recipient in a thousand, or more, complained about a campaign. `campaign` as in the address of its page."""
    _log.warning("campaign_warned", campaign=campaign, complaints=complaints, sent=sent)


def campaign_stopped(*, campaign: str, complaints: int, sent: int) -> None:
    """Too many recipients complained: what is left of the campaign is set aside until somebody lets it go on."""
    CAMPAIGNS_STOPPED.inc()
    _log.error("campaign_stopped", campaign=campaign, complaints=complaints, sent=sent)


def campaign_released(*, campaign: str, copies: int) -> None:
    """Somebody lets a stopped campaign go on; `copies` that were set aside are in the queue again."""
    _log.info("campaign_released", campaign=campaign, copies=copies)


def address_works(*, controller: str) -> None:
    """Somebody took the mark "undeliverable" off an address."""
    _log.info("address_works", controller=controller)


def report_received(*, kind: str, undeliverable: int) -> None:
    """A bounce, complaint or reply came in at the return path."""
    REPORTS.labels(kind).inc()
    _log.info("report_received", kind=kind, undeliverable=undeliverable)


# What providers tell (hooks)


def hook_told(
    *, hook: str, controller: str, provider: str, events: int, repeats: int, ignored: int, faults: int
) -> None:  # fmt: skip
    """A provider told of mail it took, and all of it is committed. `faults`: entries that cannot be read."""
    for outcome, n in (("new", events), ("repeat", repeats), ("ignored", ignored), ("unreadable", faults)):
        HOOK_EVENTS.labels(provider, outcome).inc(n)
    _log.info(
        "hook_told", hook=hook, controller=controller, provider=provider, events=events, repeats=repeats,
        ignored=ignored, faults=faults,
    )  # fmt: skip


def hook_refused(*, hook: str, provider: str, cause: str) -> None:
    """A request at a hook is not proven to be the provider's, or cannot be read; nothing was stored."""
    HOOKS_REFUSED.labels(provider, cause).inc()
    _log.warning("hook_refused", hook=hook, provider=provider, cause=cause)


def hook_put_off(*, hook: str, provider: str, said: str) -> None:
    """What proves a request cannot be fetched now; the provider was told to send it again."""
    HOOKS_REFUSED.labels(provider, "not now").inc()
    _log.error("hook_put_off", hook=hook, provider=provider, said=said)


def hook_subscribed(*, hook: str, controller: str, ended: bool) -> None:
    """An SNS topic is subscribed to a hook; `ended`: no more, somebody unsubscribed it."""
    _log.warning("hook_subscribed", hook=hook, controller=controller, ended=ended)


# What others are told (write-back)


def told(*, controller: str, target: str, about: str, attempts: int, said: str) -> None:
    """A tool or an endpoint was told of an opt-out, an erasure or a change. `said`: what it answered, in short."""
    TOLD.labels(target, "done").inc()
    _log.info("told", controller=controller, target=target, about=about, attempts=attempts, said=said)


def telling_put_off(*, controller: str, target: str, about: str, attempts: int, said: str) -> None:
    """Somebody could not be told now and will be told later."""
    TOLD.labels(target, "later").inc()
    _log.info("telling_put_off", controller=controller, target=target, about=about, attempts=attempts, said=said)


def telling_given_up(*, controller: str, target: str, about: str, attempts: int, said: str) -> None:
    """Somebody was not told, after days or because they want no calls; see `consentgate writeback list`."""
    TOLD.labels(target, "given up").inc()
    _log.warning("telling_given_up", controller=controller, target=target, about=about, attempts=attempts, said=said)
