"""A data subject asks to be erased, or what is on file (GDPR art. 15, 17, 20; RULES.md 6.1, 6.4).

Committed before anyone is told. An erasure is written to a list outside the database first: a backup that is restored
later brings the person back, and the list says whom to erase again. What is handed out is noted as looked at.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway import log
from gateway.config import Config, Controller
from gateway.dossier import Dossier, flat, gather
from gateway.files.outgoing import harmless
from gateway.record import looked
from gateway.store.contract import Store
from gateway.store.evidence import Erased, Erasure
from gateway.timeline import told_as
from gateway.words import Language, Words
from suppression.consent import SOURCES
from suppression.fields import written
from suppression.vault import KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """What an erasure did. `wiped`: the logs of both databases were emptied; else the running gateway does it later."""

    erased: Erased
    at: datetime
    wiped: bool


def list_path(config: Config) -> Path:
    """The list of erasures, which no backup of the database holds."""
    return config.dir / "erasures.jsonl"


async def erase(
    store: Store, config: Config, ring: KeyRing, controller_id: str, plain: str, *, by: str, now: datetime
) -> Disclosed:
    """Erase a person at one controller. Again for somebody who was erased: what came since goes too.

    `plain`: the normalised address. Raises StoreUnavailable, or OSError where the list cannot be written: then nothing
    is erased.
    """
    at = now.astimezone(UTC).replace(microsecond=0)
    keys = ring.recipient_keys(controller_id, plain)
    under = {str(key_id): key.hex() for key_id, key in zip(ring.key_ids, keys, strict=True)}
    _write_down(list_path(config), {"controller": controller_id, "recipient_keys": under, "at": written(at)})
    done = await store.erase(Erasure(controller_id=controller_id, recipient_keys=keys, at=at, by=by, address=plain))
    wiped = await store.empty_logs()
    log.person_erased(controller=controller_id, already=done.already, wiped=wiped)
    return Disclosed(erased=done, at=at, wiped=wiped)


def _write_down(path: Path, line: dict[str, object]) -> None:
    """Append one line, on disk before anything is erased; readable by the owner only."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as out:
        out.write(json.dumps(line).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """What a person gets: files by name. `known` False: nothing is on file. `readable` False: a part does not open."""

    files: Mapping[str, bytes]
    known: bool
    readable: bool


async def hand_out(
    store: Store, config: Config, controller: Controller, ring: KeyRing, words: Words, plain: str, *,
    language: str | None, by: str, now: datetime,
) -> HandedOut:  # fmt: skip
    """All that is on file about a person, readable and as data (GDPR art. 15), and what they may take along (art. 20).

    `language`: of the readable page; None: the person's, else the controller's.
    """
    found = await gather(store, config, controller, ring, plain, now=now)
    if found.known:
        await looked(store, controller.id, [found.recipient_key], by=by, now=now, why="access")
    spoken = words.pick([language or found.language, controller.language])
    page = _Page(words, spoken, controller, ZoneInfo(controller.timezone)).render(found)
    files = {
        "access.html": page.encode(), "access.json": _json(found.access), "portable.json": _json(found.portable),
        "portable.csv": _csv(flat(found.portable)),
    }  # fmt: skip
    for number, (name, content) in enumerate(found.proofs, 1):
        files[f"proof-{number}-{_harmless(name)}"] = content
    return HandedOut(files=files, known=found.known, readable=found.readable)


def _harmless(name: str) -> str:
    """A name that somebody gave a file, as a file in this folder may be called."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[-60:].lstrip(".") or "file"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"


def _csv(rows: Iterable[tuple[str, str, str]]) -> bytes:
    """With a byte-order mark, so that spreadsheets read it as UTF-8; no cell runs as a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("record", "field", "value"))
    writer.writerows(harmless(row) for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


@dataclass(frozen=True, slots=True)
class _Page:
    """The readable page in one language."""

    words: Words
    language: Language
    controller: Controller
    zone: ZoneInfo

    def render(self, found: Dossier) -> str:
        access = found.access
        lists = (
            (self.say("stops"), [self.stop(one) for one in access["opt_outs"]]),
            (self.say("restrictions"), [self.held(one) for one in access["restrictions"]]),
            (self.say("mail"), [self.mail(one) for one in access["decisions"]]),
            (self.say("used_for"), [self.purpose(name) for name in access["purposes"]]),
            (self.say("sources"), [self.source(one) for one in access["sources"]]),
            (self.say("sign_ups"), [self.sign_up(one) for one in access["sign_ups"]]),
            (self.say("came_back"), [self.came_back(one) for one in access["came_back"]]),
            (
                self.say("recipients"),
                [
                    *(self.say("recipient", host=host) for host in access["recipients"]),
                    *(self.say("told", host=host) for host in access["told"]),
                ],
            ),
            (self.say("history"), [self.event(one) for one in access["history"]]),
        )
        return self.words.render(
            "dossier/access.html", self.language, controller=access["controller"], person=access["person"],
            made_at=self.day(access["made_at"]), readable=found.readable, facts=list(self.facts(access)),
            consents=[{"rows": list(self.consent(one)), "shown": _shown(one)} for one in access["consents"]],
            sales=[list(self.sale(one)) for one in access["sales"]], lists=lists,
            rights=[self.say(f"right.{right}") for right in access["rights"]],
        )  # fmt: skip

    def say(self, key: str, **values: object) -> str:
        return self.words.text(self.language, f"dossier.{key}", **values)

    def day(self, at: str) -> str:
        return self.words.day(self.language, datetime.fromisoformat(at), self.zone)

    def purpose(self, name: str) -> str:
        return self.words.purpose(self.controller, name, self.language)

    def facts(self, access: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        person, declared = access["person"], access["declared"]
        said = {
            "address": person["address"],
            "name": person.get("name"),
            "number": person.get("external_id"),
            "first_seen": person["first_seen"] and self.day(person["first_seen"]),
            **{name: declared.get(name) for name in ("country", "billing_country", "language", "birth_date")},
            "undeliverable": self.say("undeliverable_yes") if access["derived"]["undeliverable"] else None,
        }
        return ((self.say(key), value) for key, value in said.items() if value)

    def consent(self, one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        proof, confirmation = one["evidence"], one["double_opt_in"]
        days = {
            "given": one["given_at"], "confirmed": confirmation["confirmed_at"], "withdrawn": one["withdrawn_at"],
            "expires": one["expires_at"],
        }  # fmt: skip
        said = {
            "purposes": ", ".join(map(self.purpose, one["purposes"])),
            **{key: self.day(at) for key, at in days.items() if at},
            "method": proof["method"],
            "origin": proof["origin"],
            "wording": proof["wording_version"],
        }
        return ((self.say(key), value) for key, value in said.items() if value)

    def sale(self, one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        what = self.words.text(self.language, f"fact.sale.{one['kind']}", date=self.day(one["concluded_at"]))
        said = {"kind": what, "categories": ", ".join(one["product_categories"])}
        return ((self.say(key), value) for key, value in said.items() if value)

    def source(self, code: str) -> str:
        return self.words.text(self.language, f"source.{code}") if code in SOURCES else code

    def stop(self, one: Mapping[str, Any]) -> str:
        scope = self.say(
            f"scope.{one['scope']}",
            **({"name": self.controller.display_name} if one["scope"] == "sender" else {}),
            **({"purpose": self.purpose(one["purpose"])} if one["scope"] == "purpose" else {}),
        )  # fmt: skip
        if one["lifted_at"] is not None:
            return self.say("stop_lifted", date=self.day(one["at"]), scope=scope, until=self.day(one["lifted_at"]))
        for_some = [
            self.say("lifted_for", purpose=self.purpose(each["purpose"]), date=self.day(each["at"]))
            for each in one["lifted_for"]
        ]
        return " ".join([self.say("stop", date=self.day(one["at"]), scope=scope), *for_some])

    def held(self, one: Mapping[str, Any]) -> str:
        named = {"purpose": self.purpose(one["purpose"])} if one["scope"] == "purpose" else {}
        text = self.say(f"held.{one['scope']}", date=self.day(one["from"]), **named)
        return f"{text} {self.say('held_until', until=self.day(one['lifted_at']))}" if one["lifted_at"] else text

    def mail(self, one: Mapping[str, Any]) -> str:
        said = {
            "date": self.day(one["at"]), "subject": one["subject"] or self.say("no_subject"),
            "reason": self.words.reason(one["reason_code"], self.language).sentence,
        }  # fmt: skip
        article = self.words.law(self.language, one["article"])
        return self.say("mail_line", article=article, **said) if article else self.say("mail_bare", **said)

    def sign_up(self, one: Mapping[str, Any]) -> str:
        return self.say("sign_up", date=self.day(one["at"]), ip=one["ip"], browser=one["user_agent"] or "-")

    def came_back(self, one: Mapping[str, Any]) -> str:
        """What came back about a mail to them, or from them."""
        said = [self.words.text(self.language, f"returns.kind.{one['kind']}")]
        if one["said"]:
            said.append(self.words.text(self.language, f"bounce.{one['reason']}"))
        return f"{self.day(one['at'])}: {', '.join(said)}" + "".join(
            f" \u2013 {text}" for text in (one["said"], one["subject"], one["text"]) if text
        )

    def event(self, one: Mapping[str, Any]) -> str:
        kind = told_as(one["kind"], one["said"]) if one["kind"] in _TOLD else "other"
        return self.say("event", date=self.day(one["at"]), what=self.words.text(self.language, f"entry.{kind}"))


_TOLD: Final = frozenset({
    "consent", "opt_in_requested", "opt_in_confirmed", "opt_in_expired", "sale", "person", "withdrawal", "objection",
    "complaint", "withdrawal_undone", "suppression", "suppression_lifted", "restriction", "restriction_lifted",
    "rectification",
    "erasure_request", "undeliverable", "mailed", "confirmation_sent", "looked_at", "erasure",
    "notice_queued",
})  # fmt: skip
"""Kinds of entries that the page words each in its own way."""


def _shown(consent: Mapping[str, Any]) -> list[str]:
    """The words beside the boxes, as they were shown."""
    kept = consent["shown"]
    return [] if kept is None else [choice["text"] for choice in kept["choices"] if choice["text"]]
