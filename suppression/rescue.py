"""What exactly is lacking where a message was blocked: the pair of categories to rule on, the pieces of evidence.

The reason code says what kind of obstacle it is; here is the detail that makes a list of them a list of things to do.
Whoever opted out, and what nobody can mend, is no such thing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from suppression.consent import Consent
from suppression.decision import Decision
from suppression.reason_code import ACTOR, FAMILY
from suppression.sale import Sale
from suppression.similarity import Pair

PIECES = ("time", "method", "wording_version", "origin", "action")
"""What makes a consent proven: when, how, what was shown, where, and what the person did (D1 check 7)."""
_PROOF = "CONSENT_UNPROVEN"
_PRODUCT = "PRODUCT_NOT_SIMILAR"


def rescuable(reason_code: str) -> bool:
    """Whether anybody could do something about it. An opt-out is the person's word: there is nothing to rescue."""
    return FAMILY.get(reason_code) not in (None, "opt-out") and ACTOR[reason_code] != "nobody"


def lacking(
    decision: Decision, *, categories: Sequence[str], consents: Sequence[Consent], sales: Sequence[Sale],
    controller_id: str, apart: Container[Pair] = (),
) -> str:  # fmt: skip
    """The detail of a blocked decision: `wine~glassware`, `time, wording_version`; empty where the code says it all.

    `categories` are the message's; `consents` and `sales` are those the decision was made on. `apart`: pairs that were
    ruled not similar: an answer that was given is nothing to do.
    """
    if decision.reason_code == _PRODUCT:
        sold = {name for sale in sales if sale.controller_id == controller_id for name in sale.product_categories}
        pairs = sorted(
            f"{one}~{other}" for one in set(categories) - sold for other in sold if frozenset((one, other)) not in apart
        )
        return " or ".join(pairs)
    if decision.reason_code == _PROOF:
        found = {words[2] for words in map(str.split, decision.findings) if words[-1] == _PROOF}
        for record in consents:
            if record.id in found:
                return ", ".join(_missing(record))
    return ""


def _missing(record: Consent) -> list[str]:
    """The pieces of evidence a consent record is without (D1 check 7)."""
    evidence = record.evidence
    values = (
        record.given_at, evidence.method, evidence.wording_version, evidence.origin,
        None if record.action == "unknown" else record.action,
    )  # fmt: skip
    return [name for name, value in zip(PIECES, values, strict=True) if not value]
