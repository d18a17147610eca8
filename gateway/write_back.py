"""What people said is told to those who keep sending: the tool's own one-click address, its API, endpoints (webhooks).

Jobs were written with what they tell of (store/telling.py), so that nothing is lost between the opt-out and the call.
Here they are claimed under a lease, called, and ended: done, again later, or given up after days. A call may be made
twice after a crash, and never makes a difference the second time. Nobody who opts out waits for any of it.

A host that does not answer is left alone for a while, and takes no more than its own few calls.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from gateway import log
from gateway.addressees import peers
from gateway.config import Config, Controller, Tool
from gateway.outbound.http_client import HttpClient, HttpFailed, HttpFailure
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.telling import ONE_CLICK, Job, JobEnd
from gateway.tools import listmonk, mailchimp, mautic, one_click, webhook
from gateway.tools.dialogue import Answer, Dialogue, Verdict
from gateway.tools.reach import Peer
from suppression.fields import written

PER_HOST: Final = 2
"""Calls to one host at one time, per process."""
AT_ONCE: Final = 16
"""Calls at one time, per process."""
LOOK_SECONDS: Final = 1.0
"""How often jobs are looked for that another process wrote, or that are due again."""
AGAIN: Final = (5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds until the next attempt, after each; the last one for ever, until the job is given up."""
_JITTER: Final = 0.2
_REST: Final = (5, 300)
"""Seconds that a host which does not answer is left alone: at first, and at most."""
_LONGEST_REST: Final = timedelta(seconds=_REST[1] * (1 + _JITTER))
_NOBODY_THERE: Final[frozenset[HttpFailure]] = frozenset(("dns", "inside", "unreachable", "tls", "timeout", "lost"))


@dataclass(slots=True)
class _Rest:
    """A host that did not answer: so often in a row, and until when it is left alone."""

    failures: int = 0
    until: datetime | None = None


@dataclass(slots=True)
class _Spoken:
    """What a dialogue came to. `reached`: whether the host answered at all."""

    verdict: Verdict
    reached: bool = True


class WriteBack:
    """Does the jobs of one process. `configure` swaps settings and client between calls."""

    def __init__(
        self, store: Store, *, worker: str, clock: Callable[[], datetime], believed: Callable[[], bool]
    ) -> None:
        """`believed`: whether the clock says surely enough that a job's time is over (clock_watch.py)."""
        self._believed = believed
        self._store, self._worker, self._clock = store, worker, clock
        self._busy: Counter[str] = Counter()
        self._rests: dict[str, _Rest] = {}
        self._free = asyncio.Event()

    def configure(self, config: Config, client: HttpClient) -> None:
        self._config, self._client = config, client

    async def run(self) -> None:
        """Do jobs until cancelled; calls under way are cut off then, and made again after the next start."""
        async with asyncio.TaskGroup() as calls:
            taken_back = False
            while True:
                try:
                    if not taken_back:
                        await self._store.take_back_write_backs(self._worker, self._clock())
                        taken_back = True
                    await self._begin(calls)
                except StoreUnavailable as down:
                    log.store_unavailable(where="write-back", error=down)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._free.wait()
                self._free.clear()

    async def _begin(self, calls: asyncio.TaskGroup) -> None:
        """Begin the jobs that are due, for hosts that have room; each host's at once, since a store that fails at the
        next host must not take with it what is claimed already."""
        now = self._clock()
        for host in await self._store.write_backs_due(now):
            rest = self._rests.get(host)
            # one that ends further ahead than any was begun before the clock was set back
            resting = rest is not None and rest.until is not None and now < rest.until <= now + _LONGEST_REST
            room = min(PER_HOST - self._busy[host], AT_ONCE - self._busy.total())
            if room > 0 and not resting:
                for job in await self._store.claim_write_backs(self._worker, host, now=now, n=room):
                    self._busy[host] += 1
                    calls.create_task(self._do(job))

    async def _do(self, job: Job) -> None:
        try:
            spoken = await self._speak(job)
            self._note_host(job.host, reached=spoken.reached)
            await self._store.end_write_back(self._worker, self._end(job, spoken.verdict))
        except StoreUnavailable as down:  # its lease runs out, and it is made again
            log.store_unavailable(where="write-back", error=down)
        finally:
            self._busy[job.host] -= 1
            self._free.set()

    async def _speak(self, job: Job) -> _Spoken:
        controller = self._config.controllers.get(job.controller_id)
        try:
            if controller is None:
                return _Spoken(Verdict(outcome="never", note="not in the settings"))
            dialogue = dialogue_of(job, controller, self._clock())
            if isinstance(dialogue, Verdict):
                return _Spoken(dialogue)
            return _Spoken(await converse(self._client, dialogue, self._peers(job, controller)))
        except HttpFailed as failed:
            return _Spoken(Verdict(outcome="later", note=str(failed)), failed.kind not in _NOBODY_THERE)
        except Exception as error:  # a system may answer what nobody thought of: the others are told all the same
            log.bug(where="write-back", error=error)
            return _Spoken(Verdict(outcome="later", note=type(error).__name__))

    @staticmethod
    def _peers(job: Job, controller: Controller) -> tuple[Peer, ...]:
        if job.target != ONE_CLICK:
            return peers(controller)
        return (*peers(controller), *(one for s in controller.streams.values() for one in s.write_back_hosts))

    def _note_host(self, host: str, *, reached: bool) -> None:
        if reached:
            self._rests.pop(host, None)
            return
        rest = self._rests.setdefault(host, _Rest())
        seconds = min(_REST[0] << min(rest.failures, 10), _REST[1])
        rest.failures, rest.until = rest.failures + 1, self._clock() + _jittered(seconds)

    def _end(self, job: Job, verdict: Verdict) -> JobEnd:
        """What becomes of a job after a verdict, and the line that says so."""
        now = self._clock()
        target, event = {"controller": job.controller_id, "target": job.target}, job.event
        end: dict[str, Any] = {
            "controller_id": job.controller_id, "job_id": job.job_id, "attempts": job.attempts, "said": verdict.note,
            "at": now,
        }  # fmt: skip
        due = now + max(_jittered(AGAIN[min(job.attempts, len(AGAIN)) - 1]), timedelta(seconds=verdict.after or 0))
        if verdict.outcome == "done":
            log.told(**target, about=event, attempts=job.attempts, said=verdict.note)
            return JobEnd(**end, state="done")
        if verdict.outcome == "never" or (due > job.until and self._believed()):
            log.telling_given_up(**target, about=event, attempts=job.attempts, said=verdict.note)
            return JobEnd(**end, state="failed")
        log.telling_put_off(**target, about=event, attempts=job.attempts, said=verdict.note)
        return JobEnd(**end, state="waiting", due_at=due)


def _jittered(seconds: int) -> timedelta:
    return timedelta(seconds=seconds * random.uniform(1 - _JITTER, 1 + _JITTER))


async def converse(client: HttpClient, dialogue: Dialogue, allowed: Iterable[Peer]) -> Verdict:
    """Carry a dialogue out. Raises HttpFailed where there is no answer to one of its requests."""
    listed, answer = tuple(allowed), None
    while True:
        try:
            request = next(dialogue) if answer is None else dialogue.send(answer)
        except StopIteration as said:
            verdict: Verdict = said.value
            return verdict
        answer = await client.send(request, listed)
        assert isinstance(answer, Answer)


def dialogue_of(job: Job, controller: Controller, now: datetime) -> Dialogue | Verdict:
    """What is to be said for a job; a Verdict where there is nothing to say, or nobody to say it to."""
    content = job.content
    if content is None:
        return Verdict(outcome="never", note="cannot be opened")
    if job.target == ONE_CLICK:
        return one_click.unsubscribe(content["url"])
    kind, _, name = job.target.partition("/")
    if kind == "webhook" and name in controller.webhooks:
        hook = controller.webhooks[name]
        said = {"type": job.event, "timestamp": written(job.at), "data": {"controller": controller.id, **content}}
        return webhook.tell(
            hook.url, hook.secrets, message_id=f"msg_{job.job_id.hex()}", timestamp=int(now.timestamp()),
            content=said,
        )  # fmt: skip
    tool = controller.tools.get(name)
    if tool is None or tool.kind != kind:
        return Verdict(outcome="never", note="not in the settings")
    return _stop(tool, content["address"], content["purpose"], erased=job.event == "person.erased")


def _stop(tool: Tool, address: str, purpose: str | None, *, erased: bool) -> Dialogue | Verdict:
    """An opt-out in a tool's own terms. `purpose` None: of everything."""
    delete = erased and tool.on_erasure == "delete"
    base, ids = tool.url, None if purpose is None else tool.lists.get(purpose)
    if purpose is not None and ids is None:
        return Verdict(outcome="never", note="no list for its purpose")
    some = None if ids is None or ids == ("*",) else ids
    if tool.kind == "mailchimp":
        every = tuple(dict.fromkeys(one for each in tool.lists.values() for one in each))
        return mailchimp.stop(base, tool.password, address, audiences=some or every, delete=delete)
    if tool.kind == "mautic":
        return mautic.stop(base, tool.username or "", tool.password, address, segments=some, delete=delete)
    return listmonk.stop(base, tool.username or "", tool.password, address, lists=some, delete=delete)


async def probe(client: HttpClient, controller: Controller) -> list[tuple[str, bool, str]]:
    """Whether those who are to be told can be: target, good, and a few words. Nothing is told, nothing changed."""
    return [
        (target, *await _probed(client, dialogue, peers(controller))) for target, dialogue in _probes(controller)
    ]  # fmt: skip


def _probes(controller: Controller) -> Iterable[tuple[str, Dialogue]]:
    for hook in controller.webhooks.values():
        yield f"webhook/{hook.name}", webhook.probe(hook.url)
    for tool in controller.tools.values():
        if tool.kind == "mailchimp":
            yield f"mailchimp/{tool.name}", mailchimp.probe(tool.url, tool.password)
        else:
            reads = mautic.probe if tool.kind == "mautic" else listmonk.probe
            yield f"{tool.kind}/{tool.name}", reads(tool.url, tool.username or "", tool.password)


async def _probed(client: HttpClient, dialogue: Dialogue, listed: Iterable[Peer]) -> tuple[bool, str]:
    try:
        verdict = await converse(client, dialogue, listed)
    except HttpFailed as failed:
        return False, str(failed)
    return verdict.outcome == "done", verdict.note
