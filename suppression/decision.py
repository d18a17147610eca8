"""The decision: may this recipient be sent this message now, on what ground, and when could time alone change that?

Reads as RULES 2.3: technical readiness, form, authorisation, class, deliverability, restriction, (what is not marketing
ends here,) suppression, erasure, purpose, ground, duties, signing. The rows are in rules.py, basis.py and duties.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from suppression.basis import OFFER_CHECKS
from suppression.duties import DUTIES, SIGNING
from suppression.facts import Facts
from suppression.frozen import quick_init
from suppression.ground import Ground, find_ground
from suppression.next_change import next_change
from suppression.pack import UNKNOWN, Pack, Packs
from suppression.rules import (
    EVERY_MESSAGE,
    HARD_STOPS,
    NOT_MARKETING,
    UNCLASSIFIED,
    Allow,
    Block,
    Defer,
    Effect,
    Rule,
    is_marketing,
)

__all__ = ["MESSAGE_LEVEL", "Decision", "decide", "next_change"]

Verdict = Literal["allow", "block", "defer"]


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided for one recipient of one message, and why.

    `basis` is the ground of an allowed message: "opt_in", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime",
    "transactional", "notice" or "doi"; None when it is not allowed. `pack` is the pack that gave the result, None where
    no pack was asked. `trace` names every row looked at, in order ("A1", ..., "D4:NL"); `findings` has one entry per
    consent or sale record looked at: pack, step with check number, record id, code or "valid".
    """

    verdict: Verdict
    reason_code: str
    cite: str
    basis: str | None
    pack: str | None
    trace: tuple[str, ...]
    findings: tuple[str, ...]


#: Codes that say the message or its setting is wrong, whoever the recipient is (RULES 2.4).
MESSAGE_LEVEL: frozenset[str] = frozenset(
    [rule.effect.code for table in (EVERY_MESSAGE, NOT_MARKETING, HARD_STOPS) for rule in table
     if rule.message_level and isinstance(rule.effect, Block)]
    + [duty.effect.code for duty in DUTIES]
    + [OFFER_CHECKS[0].code]
)  # fmt: skip

_A = tuple(rule.id for rule in EVERY_MESSAGE)
_B = tuple(rule.id for rule in NOT_MARKETING)
_C = tuple(rule.id for rule in HARD_STOPS)


def decide(facts: Facts, packs: Packs) -> Decision:
    """Say whether one recipient may be sent one message, and why.

    `facts.as_of` is the instant of hand-over, aware UTC. `packs` are those of `load_packs`. A fact that is unknown
    never leads to allow (RULES 2.1.3). Total: raises nothing, whatever the facts say.

    Source: GDPR art. 7(1), 7(3), 21(2)-(3); Directive 2002/58/EC art. 13; RULES 2.3.
    """
    try:
        return _decide(facts, packs)
    except Exception as error:
        # A fault in here must stop a message, never send it; deferred it is not lost either.
        return Decision(
            verdict="defer",
            reason_code="EVIDENCE_STORE_UNAVAILABLE",
            cite=EVERY_MESSAGE[0].source,
            basis=None,
            pack=None,
            trace=("A1", f"unreadable facts: {type(error).__name__}"),
            findings=(),
        )


def _decide(facts: Facts, packs: Packs) -> Decision:
    for at, rule in enumerate(EVERY_MESSAGE):
        if rule.test(facts):
            return _by_rule(facts, rule, _A[: at + 1])
    if not is_marketing(facts):
        for at, rule in enumerate(NOT_MARKETING):
            if rule.test(facts):
                return _by_rule(facts, rule, _A + _B[: at + 1])
        return _by_rule(facts, UNCLASSIFIED, _A + _B)
    for at, rule in enumerate(HARD_STOPS):
        if rule.test(facts):
            return _by_rule(facts, rule, _A + _C[: at + 1])
    return _marketing(facts, packs)


def _by_rule(facts: Facts, rule: Rule, trace: tuple[str, ...]) -> Decision:
    effect: Effect = rule.effect if isinstance(rule.effect, tuple) else rule.effect(facts)
    return Decision(
        verdict="allow" if isinstance(effect, Allow) else "block" if isinstance(effect, Block) else "defer",
        reason_code=effect.code,
        cite=(effect.source if isinstance(effect, Block) else None) or rule.source,
        basis=effect.basis if isinstance(effect, Allow) else None,
        pack=None,
        trace=trace,
        findings=(),
    )


def _marketing(facts: Facts, packs: Packs) -> Decision:
    """Stages D to G: every pack must allow, then every pack's duties, then the key; the first pack's ground answers."""
    trace: tuple[str, ...] = _A + _C
    findings: tuple[str, ...] = ()
    allowed: list[tuple[Pack, Ground]] = []
    for code in facts.jurisdictions or (UNKNOWN,):
        pack = packs.get(code) or packs[UNKNOWN]
        ground = find_ground(facts, pack)
        trace += ground.trace
        findings += ground.findings
        if not ground.allowed:
            return _stop(Block(ground.code), ground.cite, pack, trace, findings)
        allowed.append((pack, ground))
    for pack, ground in allowed:
        for at, duty in enumerate(DUTIES):
            if duty.missing(facts, pack, ground.basis or ""):
                return _stop(duty.effect, duty.source, pack, trace + _duties(at + 1, pack.code), findings)
        trace += _duties(len(DUTIES), pack.code)
    pack, ground = allowed[0]
    trace += (SIGNING.id,)
    if SIGNING.missing(facts, pack, ground.basis or ""):
        return _stop(SIGNING.effect, SIGNING.source, None, trace, findings)
    return Decision(
        verdict="allow",
        reason_code=ground.code,
        cite=ground.cite,
        basis=ground.basis,
        pack=pack.code,
        trace=(*trace, "G"),
        findings=findings,
    )


@cache
def _duties(upto: int, code: str) -> tuple[str, ...]:
    return tuple(f"{duty.id}:{code}" for duty in DUTIES[:upto])


def _stop(
    effect: Block | Defer, cite: str, pack: Pack | None, trace: tuple[str, ...], findings: tuple[str, ...]
) -> Decision:
    return Decision(
        verdict="block" if isinstance(effect, Block) else "defer",
        reason_code=effect.code,
        cite=cite,
        basis=None,
        pack=pack.code if pack else None,
        trace=trace,
        findings=findings,
    )
