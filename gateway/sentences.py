"""A decision in words: one explanation, one text, the same wherever it is read (command, API, staff page, report).

Short sentences in the order in which people ask: what was decided, because of what, since when, until when, what would
make it lawful, who can do that; the law and the rule in small. Dates as people write them, in the zone given.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.config import Controller
from gateway.words import Language, Words
from suppression.evidence import SPOKEN, STAFF_METHOD
from suppression.explain import Explanation, Fact, observed
from suppression.suppression_list import HASH_LIST

SHOWN: Final = 6
"""Facts told one by one; what did not count and comes after them is counted."""


_MOVING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


def one_line(text: str) -> str:
    """The text without line ends, without what a terminal would obey and without what turns the order of letters: a
    record from elsewhere may hold them, and must not write lines of its own into a report, a mail or a screen."""
    return _MOVING.sub(" ", text)


def stop_key(reason: str | None, source: str | None) -> str:
    """The key of the sentence that says what keeps a person out: an opt-out's reason, or the list they are found on."""
    return f"fact.suppression.{'hash_list' if source == HASH_LIST else reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An explanation as sentences. `who` None: nothing is to be done. `small`: ground, articles and rule.

    `remedy_names_who`: the remedy says it already, so that the paragraph does not say it twice.
    """

    decided: str
    because: tuple[str, ...]
    since: str | None
    until: str | None
    remedy: str
    who: str | None
    small: str
    remedy_names_who: bool

    @property
    def text(self) -> str:
        """The whole as one paragraph."""
        who = None if self.remedy_names_who else self.who
        said = (self.decided, *self.because, self.since, self.until, self.remedy, who, self.small)
        return " ".join(sentence for sentence in said if sentence)


def tell(words: Words, language: Language, said: Explanation, controller: Controller | None = None) -> Told:
    """An explanation in words. `controller` gives its purposes their own names, and dates their zone (without: UTC).

    A code without words is a KeyError.
    """
    teller = Teller.of(words, language, controller)
    reason = words.reason(said.code, language)
    because = [sentence for sentence in (teller.fact(fact, said.code) for fact in said.facts) if sentence]
    if len(because) > SHOWN:
        because[SHOWN:] = [words.count(language, "explain.more", len(because) - SHOWN)]
    law = {"ground": reason.ground, "articles": words.law(language, said.articles), "rule": said.rule}
    verdict = "observed" if observed(said.verdict, said.code) else said.verdict
    until = "explain.until.allow" if said.verdict == "allow" else "explain.until.block"
    return Told(
        decided=f"{words.text(language, f'explain.{verdict}')} {reason.sentence}", because=tuple(because),
        since=words.text(language, "explain.since", date=teller.date(said.since)) if said.since else None,
        until=words.text(language, until, date=teller.date(said.until)) if said.until else None,
        remedy=reason.next_step,
        who=words.text(language, f"explain.who.{said.actor}") if verdict != "allow" else None,
        small=words.text(language, "explain.small" if said.rule else "explain.small_bare", **law),
        remedy_names_who=said.remedy in _NAMES_WHO,
    )  # fmt: skip


def spoken(
    words: Words, language: Language, said: Explanation, controller: Controller | None = None
) -> dict[str, Any]:  # fmt: skip
    """An explanation for machines and people: the values, and the text."""
    return {"explanation": said.to_dict(), "text": tell(words, language, said, controller).text}


_NAMES_WHO: Final = frozenset({"respect", "privacy", "operator", "sign_up_again", "wait"})


@dataclass(frozen=True, slots=True)
class Teller:
    """Says facts in one language."""

    words: Words
    language: Language
    controller: Controller | None
    zone: ZoneInfo

    @classmethod
    def of(cls, words: Words, language: Language, controller: Controller | None) -> "Teller":
        """In the controller's zone; UTC without one."""
        return cls(words, language, controller, ZoneInfo(controller.timezone if controller is not None else "UTC"))

    def date(self, at: datetime) -> str:
        return self.words.day(self.language, at, self.zone)

    def say(self, key: str, **values: object) -> str:
        return self.words.text(self.language, key, **values)

    def purposes(self, names: tuple[str, ...]) -> str:
        """The controller's own names where it gave them, else as they are."""
        declared = self.controller.purposes if self.controller is not None else {}
        titled = [
            self.words.purpose(self.controller, name, self.language)
            if self.controller is not None and name in declared and declared[name].title else name
            for name in names
        ]  # fmt: skip
        return ", ".join(titled)

    def fact(self, fact: Fact, code: str) -> str:
        """One fact as a sentence; of a record that failed, why, unless it is the reason that was given already."""
        clauses = [clause for clause in self.clauses(fact) if clause]
        if not clauses:
            return ""
        line = one_line(", ".join(clauses))
        if fact.code is not None and fact.code != code:
            finding = self.say(f"reason.{fact.code}")
            return self.say("fact.finding", fact=line, finding=finding)
        return line + "."

    def clauses(self, fact: Fact) -> Iterator[str]:
        if fact.kind in ("suppression", "restriction") and fact.at is not None:
            yield from self.stop(fact, fact.at)
        elif fact.kind == "erasure_request" and fact.at is not None:
            yield self.say("fact.erasure_request", date=self.date(fact.at))
        elif fact.kind == "sign_up" and fact.at is not None:
            yield self.say("fact.sign_up", date=self.date(fact.at), purposes=self.purposes(fact.purposes))
        elif fact.kind == "consent":
            yield from self.consent(fact)
        elif fact.kind == "sale" and fact.at is not None:
            yield self.say(f"fact.sale.{fact.reason}", date=self.date(fact.at))
            if fact.categories:
                yield self.say("fact.categories", categories=", ".join(fact.categories))
            if fact.ended_at is not None:
                yield self.say("fact.ended", date=self.date(fact.ended_at))
        elif fact.name == "product_categories" and fact.categories:
            yield self.say("fact.product_categories", categories=", ".join(fact.categories))

    def stop(self, fact: Fact, at: datetime) -> Iterator[str]:
        reach = self.say("reach.purpose", purposes=self.purposes(fact.purposes))
        if fact.scope != "purpose" or not fact.purposes:
            reach = self.say(f"reach.{fact.scope if fact.scope != 'purpose' else 'sender'}")
        key = stop_key(fact.reason, fact.source) if fact.kind == "suppression" else "fact.restriction"
        yield self.say(key, date=self.date(at), reach=reach)
        if fact.ended_at is not None:
            yield self.say("fact.paused", date=self.date(fact.ended_at))

    def consent(self, fact: Fact) -> Iterator[str]:
        given = fact.at
        yield self.say("fact.consent_undated") if given is None else self.say("fact.consent", date=self.date(given))
        if fact.purposes:
            yield self.say("fact.for", purposes=self.purposes(fact.purposes))
        if fact.categories:
            yield self.say("fact.only", categories=", ".join(fact.categories))
        if fact.method == STAFF_METHOD:
            yield self.say("proof.channel.staff")
        elif fact.method:
            yield self.say("fact.via", method=fact.method.replace("_", " "))
        if fact.wording and fact.wording != SPOKEN:  # the origin says it
            yield self.say("fact.wording", version=fact.wording)
        if fact.origin:
            yield self.say("fact.origin", origin=fact.origin)
        for key, at in (("confirmed", fact.confirmed_at), ("withdrawn", fact.withdrawn_at), ("ends", fact.ended_at)):
            if at is not None:
                yield self.say(f"fact.{key}", date=self.date(at))
