"""Is this service mail? Mail of a service stream that looks like advertising waits for an answer, and the answer counts
for mail like it.

An answer is an entry of the ledger, dated and with its reason. It settles everything that waits and is like the message
it was given about: the same text, or the same sender and form of subject with no sign that was not there. What nobody
answers within the stream's `retry_for` is given up, and the sender is told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway import log
from gateway.config import Config
from gateway.lookalikes import Lookalikes, alike
from gateway.mail.dsn import Reported, is_owed
from gateway.notice import Notices
from gateway.post import unpack_rcpt
from gateway.store.contract import Arrival, Store
from gateway.store.holding import Answer, HeldMail

LISTED = 10_000
"""Held messages that are looked at in one go."""
EXPIRED = 200
NO_ANSWER, NOT_SERVICE = "held: nobody answered", "held: advertising, said staff"


class NotAnswered(ValueError):
    """An answer that makes no sense. `reason`: "gone" or "why"; the text is English."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Messages that wait for one answer: the first of them, how many, and until when the oldest waits."""

    first: HeldMail
    messages: int
    copies: int
    expires_at: datetime


async def questions(store: Store, controllers: Iterable[str]) -> list[Question]:
    """What is to be answered, the oldest first; mail that one answer would settle is one question."""
    found: list[Question] = []
    for controller_id in controllers:
        waiting = await store.held_mail(controller_id, n=LISTED)
        while waiting:
            like = [one for one in waiting if _settled_by(waiting[0], one)]
            found.append(Question(
                first=waiting[0], messages=len(like), copies=sum(one.copies for one in like),
                expires_at=min(one.expires_at for one in like),
            ))  # fmt: skip
            named = {one.message_id for one in like}
            waiting = [one for one in waiting if one.message_id not in named]
    return found


def _settled_by(about: HeldMail, one: HeldMail) -> bool:
    return about.stream == one.stream and (
        one is about or alike(about.skeleton, about.likeness, about.signs, one.skeleton, one.likeness, one.signs)
    )


async def answer(
    store: Store, config: Config, notices: Notices, controller_id: str, message_id: bytes, *, service: bool, why: str,
    by: str, channel: str, now: datetime,
) -> int:  # fmt: skip
    """Say what a held message is, and settle all mail like it; copies let go or ended. Raises NotAnswered.

    `channel`: "web" or "command line".
    """
    waiting = await store.held_mail(controller_id, n=LISTED)
    about = next((one for one in waiting if one.message_id == message_id), None)
    if about is None:
        raise NotAnswered("gone", "No such message waits for an answer.")
    if not why.strip():
        raise NotAnswered("why", "An answer needs a reason: what kind of mail is it?")
    public = {
        "stream": about.stream, "skeleton": about.skeleton, "likeness": about.likeness, "signs": list(about.signs),
        "service": service, "by": channel,
    }  # fmt: skip
    await store.note(controller_id, "mail_ruling", public, {"why": why.strip(), "by": by}, at=now)
    like = [one for one in waiting if _settled_by(about, one)]
    return await _settle(store, config, notices, like, service=service, now=now)


async def _settle(
    store: Store, config: Config, notices: Notices, held: Sequence[HeldMail], *, service: bool, now: datetime
) -> int:
    if service:
        by_controller: dict[str, list[bytes]] = {}
        for one in held:
            by_controller.setdefault(one.controller_id, []).append(one.message_id)
        return sum([await store.let_go(who, ids, now=now) for who, ids in by_controller.items()])
    return sum([
        await _end(store, config, notices, one.controller_id, one.message_id, reply=NOT_SERVICE, now=now)
        for one in held
    ])  # fmt: skip


async def keep_up(
    store: Store, config: Config, notices: Notices, lookalikes: Lookalikes, known: bytes, now: datetime
) -> bytes:
    """What a worker does every second: join what was counted, learn new answers, settle what they are about.

    Mail that was held while an answer was being given is settled by whoever learns of it. The newest answer known.
    """
    if seen := lookalikes.to_join():
        lookalikes.joined(await store.join_seen(seen))
    learnt = await store.mail_answers(known=known)
    if learnt is None:
        return known
    newest, answers = learnt
    lookalikes.learn(answers)
    for controller_id, said in answers.items():
        waiting = await store.held_mail(controller_id, n=LISTED)
        for service in (True, False):
            like = [one for one in waiting if (last := _last(said, one)) is not None and last.service == service]
            await _settle(store, config, notices, like, service=service, now=now)
    return newest


def _last(said: Sequence[Answer], one: HeldMail) -> Answer | None:
    """The last answer about mail like this."""
    for answered in reversed(said):
        if answered.stream == one.stream and alike(
            answered.skeleton, answered.likeness, answered.signs, one.skeleton, one.likeness, one.signs
        ):
            return answered
    return None


async def expire(store: Store, config: Config, notices: Notices, *, now: datetime) -> int:
    """Give up what nobody answered in time, and tell the senders. Copies ended."""
    ended = 0
    while overdue := await store.expired_mail(now=now, n=EXPIRED):
        for controller_id, message_id in overdue:
            ended += await _end(store, config, notices, controller_id, message_id, reply=NO_ANSWER, now=now)
    return ended


async def _end(
    store: Store, config: Config, notices: Notices, controller_id: str, message_id: bytes, *, reply: str, now: datetime
) -> int:
    notice = await _notice(store, config, notices, controller_id, message_id, reply, now)
    ended = await store.end_held(
        controller_id, message_id, state="failed", reply=reply, now=now, notice=notice
    )  # fmt: skip
    if ended:
        log.held_ended(controller=controller_id, message_id=message_id.hex(), copies=ended, why=reply)
    return ended


async def _notice(
    store: Store, config: Config, notices: Notices, controller_id: str, message_id: bytes, reply: str, now: datetime
) -> Arrival | None:
    """The report to the sender on a message that will not leave, where one is owed."""
    stored = await store.message(controller_id, message_id)
    found = config.stream_of(controller_id, stored.stream) if stored is not None else None
    if stored is None or found is None or not stored.envelope["mail_from"]:
        return None
    controller, stream = found
    status = "5.4.7" if reply == NO_ANSWER else "5.7.1"
    rcpts = [unpack_rcpt(rcpt) for _, rcpt in await store.held_copies(controller_id, message_id) if rcpt is not None]
    said = f"X-Consentgate; {reply}"
    about = [
        Reported(
            address=rcpt.address, orcpt=rcpt.orcpt, action="failed", status=status, diagnostic=said, last_attempt=now
        )
        for rcpt in rcpts
        if is_owed("failed", rcpt.notify, stored.envelope["mail_from"])
    ]  # fmt: skip
    return notices.report(
        controller, stream, about, mail_from=stored.envelope["mail_from"], envid=stored.envelope["envid"],
        ret=stored.envelope["ret"], original=stored.body, subject="", arrived=stored.at, now=now,
    )  # fmt: skip
