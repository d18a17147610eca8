"""Where a list of a third party came from, and who checked it: the seller's side and the buyer's (RULES.md 4.1).

A consent that somebody else collected is only as good as the file about its list. Seller and buyer both have to verify
it (D1 check 13; GDPR art. 5(2), 7(1)): the seller shows the collection record, the wording and the consent to sharing;
the buyer takes a sample and asks. A record names its list in `evidence.origin`, as `list:NAME@VERSION (SELLER)`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, Literal, get_args

from suppression.basis import OWN_SOURCES
from suppression.consent import Consent
from suppression.decision import Decision
from suppression.fields import FactsError
from suppression.proof_meter import in_force

ListKind = Literal["purchased_list", "third_party_share"]
LIST_KINDS: Final[tuple[ListKind, ...]] = get_args(ListKind)
ListLack = Literal["seller", "buyer", "nobody", "faults"]
LIST_LACKS: Final[Mapping[ListLack, str]] = {
    "seller": "the seller's check: collection record, wording, consent to sharing, date",
    "buyer": "the buyer's own check: sample, result, who did it, date",
    "nobody": "the buyer's check looked at nobody",
    "faults": "the buyer's check found people of the sample wrong",
}
"""What may keep a list from being verified."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHOWN: Final = 120
"""Characters of an origin that a recipient is told."""
_ORIGIN: Final = re.compile(rf"list:({NAME.pattern})(?:@[0-9]+)?(?: \(([^()]*)\))?(?: / (.*))?", re.DOTALL)


class SourceError(ValueError):
    """A file about a list that cannot be kept; the text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerCheck:
    """What the seller showed, and when it was checked.

    `record`: how and where the addresses were collected. `wording`: what people were shown. `sharing_consent`: how they
    agreed that the addresses are passed on, and to whom.
    """

    record: str
    wording: str
    sharing_consent: str
    checked_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerCheck:
    """The buyer's own check: `sample` people of the list were looked at, for `good` of them everything was right.

    `checker`: the member of staff who did it, by name. `result`: what was found, in words.
    """

    sample: int
    good: int
    checker: str
    result: str
    checked_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSource:
    """The file about one list. `version` grows with each change; every version is kept."""

    name: str
    kind: ListKind
    seller: str
    version: int
    seller_check: SellerCheck | None = None
    buyer_check: BuyerCheck | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SourceError(f"{self.name!r} is no name for a list: write lower-case letters, digits, dots, dashes")
        if self.kind not in LIST_KINDS:
            raise SourceError(f"a list is a {' or a '.join(LIST_KINDS)}")
        if not self.seller.strip() or len(self.seller) > 100 or re.search(r"[()\x00-\x1f\x7f]", self.seller):
            raise SourceError("the seller needs a name of at most 100 characters, without brackets or line breaks")
        if (seller := self.seller_check) is not None:
            for label in ("record", "wording", "sharing_consent"):
                if not getattr(seller, label).strip():
                    raise SourceError(f"the seller's check says nothing about: {label}")
        if (buyer := self.buyer_check) is not None:
            if not 0 <= buyer.good <= buyer.sample:
                raise SourceError(f"{buyer.good} of {buyer.sample} cannot have been good")
            if not buyer.checker.strip() or not buyer.result.strip():
                raise SourceError("the buyer's check needs the name of who did it, and the result in words")

    def lacks(self) -> tuple[ListLack, ...]:
        """What keeps the list from being verified; empty where both sides checked it and found it good."""
        buyer = self.buyer_check
        faults: dict[ListLack, bool] = {
            "seller": self.seller_check is None,
            "buyer": buyer is None,
            "nobody": buyer is not None and not buyer.sample,
            "faults": buyer is not None and buyer.good < buyer.sample,
        }
        return tuple(lack for lack, there in faults.items() if there)

    def missing(self) -> tuple[str, ...]:
        """The same in words."""
        return tuple(LIST_LACKS[lack] for lack in self.lacks())

    @property
    def complete(self) -> bool:
        """Whether both sides checked the list and found it good."""
        return not self.lacks()

    def origin(self, rest: str | None) -> str:
        """What a record of this list carries as `evidence.origin`; `rest`: where in particular."""
        return f"list:{self.name}@{self.version} ({self.seller})" + (f" / {rest}" if rest else "")

    def next(self, **changes: Any) -> "ListSource":
        """The next version of the file."""
        return replace(self, version=self.version + 1, **changes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        seller, buyer = self.seller_check, self.buyer_check
        return {
            "name": self.name, "kind": self.kind, "seller": self.seller, "version": self.version,
            "seller_check": None if seller is None else {
                "record": seller.record, "wording": seller.wording, "sharing_consent": seller.sharing_consent,
                "checked_on": seller.checked_on.isoformat(),
            },
            "buyer_check": None if buyer is None else {
                "sample": buyer.sample, "good": buyer.good, "checker": buyer.checker, "result": buyer.result,
                "checked_on": buyer.checked_on.isoformat(),
            },
        }  # fmt: skip

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "ListSource":
        """A file as `to_dict` wrote it. FactsError where it is none."""
        try:
            seller, buyer = said["seller_check"], said["buyer_check"]
            return cls(
                name=said["name"], kind=said["kind"], seller=said["seller"], version=said["version"],
                seller_check=None if seller is None else SellerCheck(**_dated(seller)),
                buyer_check=None if buyer is None else BuyerCheck(**_dated(buyer)),
            )  # fmt: skip
        except (ValueError, TypeError, LookupError) as wrong:
            raise FactsError("source", f"is no file about a list: {wrong}") from None


def _dated(check: Mapping[str, Any]) -> dict[str, Any]:
    return {**check, "checked_on": date.fromisoformat(check["checked_on"])}


def list_named(origin: str | None) -> str | None:
    """The list that an origin names; None where it names none."""
    found = _ORIGIN.fullmatch(origin or "")
    return found[1] if found else None


def with_provenance(
    record: dict[str, Any], files: Mapping[str, ListSource], named: str | None = None
) -> dict[str, Any]:
    """A consent record as it may be kept, given the files about lists. Fail closed: a claim alone verifies nothing.

    `named`: the list the record came from; else its origin may name one. The record of a third party counts as verified
    by seller and buyer only if it says so and the file of its list is complete; the version relied on is written down
    in its origin. The argument is not changed; records of our own collection are returned as they are.
    """
    if named is None and record["source"] in OWN_SOURCES:
        return record
    evidence = record["evidence"]
    found = _ORIGIN.fullmatch(evidence["origin"] or "")
    rest = found[3] if found else evidence["origin"]
    file = files.get(named or (found[1] if found else ""))
    if file is None:
        return {**record, "seller_verified": False, "buyer_verified": False}
    return {
        **record, "source": file.kind if named is not None else record["source"],
        "evidence": {**evidence, "origin": file.origin(rest)},
        "seller_verified": record["seller_verified"] and file.complete,
        "buyer_verified": record["buyer_verified"] and file.complete,
    }  # fmt: skip


def third_party(consent: Consent) -> str | None:
    """Who gave us the address of a person who agreed elsewhere, as the person is told (GDPR art. 14(2)(f)).

    None for consents we collected ourselves; empty where nobody wrote it down.
    """
    if consent.source in OWN_SOURCES:
        return None
    origin = consent.evidence.origin or ""
    found = _ORIGIN.fullmatch(origin)
    said = (found[2] or found[1]) if found else origin
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())[:SHOWN]


def obtained_from(decision: Decision, consents: Sequence[Consent]) -> str | None:
    """Whom a mail has to name because it leaves on a consent that somebody else collected (M8; GDPR art. 14(2)-(3)).

    None where it leaves on another ground, or where a consent of our own collection carries it too.
    """
    if decision.basis != "opt_in" or all(consent.source in OWN_SOURCES for consent in consents):
        return None
    valid = [
        consent for consent in consents
        if any(finding.endswith(f" D1 {consent.id} valid") for finding in decision.findings)
    ]  # fmt: skip
    return _first_of_third_parties(valid)


def presumably_from(consents: Sequence[Consent], controller_id: str, purpose: str | None, at: datetime) -> str | None:
    """The same for a mail whose findings were not kept: judged by the consents that were in force for its purpose."""
    return _first_of_third_parties([
        consent for consent in consents if purpose in consent.purposes and in_force(consent, controller_id, at)
    ])  # fmt: skip


def _first_of_third_parties(consents: Sequence[Consent]) -> str | None:
    said = [third_party(consent) for consent in consents]
    return None if not said or None in said else said[0]
