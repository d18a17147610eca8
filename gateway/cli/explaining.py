"""What report explain, report blocked --explain and person show have in common. Loaded only when it is asked for."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gateway import explain, record
from gateway.cli import command
from gateway.cli.refusal import Refused
from gateway.config import Config, Controller
from gateway.explain import Explained, Mine
from gateway.keys import signers
from gateway.recall import BATCH, lookup
from gateway.report import BlockedRow
from gateway.sentences import spoken
from gateway.store.history import Decided
from gateway.weigh import Scales
from gateway.words import LANGUAGES, Language, Words, is_language
from suppression.address import canonical

if TYPE_CHECKING:
    from gateway.store.contract import Store

Explaining = Callable[["Store", Sequence[BlockedRow]], Awaitable[list[dict[str, Any]]]]
_MESSAGE = re.compile(r"([0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12})(?:/([0-9]{1,9}))?")


def mine_of(config: Config) -> Mine:
    """What explaining needs of an installation."""
    return Mine(config=config, scales=Scales(config, frozenset(signers(config))), ring=command.key_ring(config))


def language_of(wish: str | None) -> Language:
    """The language asked for; Refused where it is none of ours."""
    chosen = wish if wish is not None else "en"
    if not is_language(chosen):
        raise Refused(f"--language: {chosen!r} is none of {', '.join(LANGUAGES)}.")
    return chosen


def explain_decision(
    loaded: Config, who: Controller, message: str, recipient: str | None, language: str | None, as_json: bool
) -> None:
    """Print why each copy of a message was, or was not, sent. Refused where there is none."""
    spoken_in, (message_id, copy_no) = language_of(language), _message(message)
    words, mine, now = Words.load(), mine_of(loaded), command.now()

    async def show() -> int:
        shown = 0
        async with command.opened(loaded) as store:
            keys = _keys(mine, who, recipient)
            after = -1 if copy_no is None else copy_no - 1
            while page := await store.decided_of_message(
                who.id, message_id, after=after, n=BATCH if copy_no is None else 1
            ):  # fmt: skip
                after = page[-1].copy_no
                wanted = [
                    one for one in page
                    if (keys is None or one.recipient_key in keys) and copy_no in (None, one.copy_no)
                ]  # fmt: skip
                told = await explain.decisions(store, mine, wanted, now=now)
                await record.looked(store, who.id, explain.on_file(told), by="command line", now=now)
                shown += len(told)
                for one in told:
                    command.out(fields(words, spoken_in, one, who)) if as_json else _print(words, spoken_in, one, who)
                if copy_no is not None:
                    break
        return shown

    if not command.run(show()):
        about = " for that recipient" if recipient else ""
        raise Refused(f"{who.id} has no copy of such a message{about}. Look in: consentgate report blocked --json.")


def _message(text: str) -> tuple[bytes, int | None]:
    found = _MESSAGE.fullmatch(text.strip())
    if found is None:
        raise Refused(f"{text[:80]!r} is no message id. Write it as the log does, and /0 behind it for the first copy.")
    return UUID(found.group(1)).bytes, None if found.group(2) is None else int(found.group(2))


def _keys(mine: Mine, controller: Controller, recipient: str | None) -> frozenset[bytes] | None:
    if recipient is None:
        return None
    if canonical(recipient) is None:
        raise Refused("--recipient: that is not an e-mail address. Write it as name@example.com.")
    return frozenset(lookup(mine.ring, controller.id, None, recipient).recipient_keys)


def fields(words: Words, language: Language, one: Explained, controller: Controller) -> dict[str, Any]:
    """One explained decision as JSON; `recipient` is the recipient key."""
    return {**decision_fields(one.decided), **explain.spoken_fields(words, language, one, controller)}


def decision_fields(decided: Decided) -> dict[str, Any]:
    """What is stored of a decision."""
    return {
        "at": decided.as_of, "controller": decided.controller_id, "stream": decided.stream,
        "campaign": decided.campaign, "message_id": str(UUID(bytes=decided.message_id)), "copy": decided.copy_no,
        "recipient": decided.recipient_key, "state": decided.state, "decision": decided.verdict,
        "reason_code": decided.reason_code, "cite": decided.cite, "packs": decided.packs, "trace": decided.trace,
    }  # fmt: skip


def _print(words: Words, language: Language, one: Explained, controller: Controller) -> None:
    decided = one.decided
    print(f"{UUID(bytes=decided.message_id)}/{decided.copy_no}  {decided.stream}  {decided.as_of:%Y-%m-%d %H:%M} UTC")
    print(f"  {decided.reason_code}, {decided.state}, recipient {decided.recipient_key.hex()}")
    for paragraph in explain.paragraphs(words, language, one, controller):
        print(f"  {paragraph}")


def explaining_rows(config: Config, language: str | None, *, audited: bool) -> Explaining:
    """What explains rows of a report. `audited`: with the facts of each person, and the look at them is written to the
    ledger (RULES.md S5); else the results alone, and nothing is written."""
    words, mine, chosen = Words.load(), mine_of(config), language_of(language)

    async def explaining(store: "Store", rows: Sequence[BlockedRow]) -> list[dict[str, Any]]:
        controller = config.controllers[rows[0].controller]
        stored = [await store.decided(controller.id, UUID(row.message_id).bytes, row.copy_no) for row in rows]
        if not audited:
            return [_result(words, chosen, one, controller) if one else {} for one in stored]
        told = await explain.decisions(store, mine, [one for one in stored if one is not None])
        await record.looked(store, controller.id, explain.on_file(told), by="command line", now=command.now())
        by_copy = {(one.decided.message_id, one.decided.copy_no): one for one in told}
        return [
            explain.spoken_fields(words, chosen, by_copy[one.message_id, one.copy_no], controller) if one else {}
            for one in stored
        ]

    return explaining


def _result(words: Words, language: Language, one: Decided, controller: Controller) -> dict[str, Any]:
    said = spoken(words, language, explain.result_of(one), controller)
    del said["explanation"]["facts"]  # they are not told here; an empty list would say that there are none
    return said


async def may_receive(
    store: "Store", config: Config, controller: Controller, address: str, language: str | None
) -> list[dict[str, Any]]:
    """What each stream may send to an address now, and why."""
    words, chosen = Words.load(), language_of(language)
    said = await explain.may_receive(store, mine_of(config), controller, address, now=command.now())
    return [
        {"stream": stream, "decision": one.verdict, "reason_code": one.code, "cite": one.articles}
        | spoken(words, chosen, one, controller)
        for stream, one in said.items()
    ]
