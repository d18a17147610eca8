"""How a configuration is loaded: every problem is found before the start, none is guessed away.

`load` reads one TOML file against the table in table.py, then checks what settings must agree on among themselves.
It never writes and asks no DNS; failures are one ConfigError that lists all problems with file, line, key and remedy.
"""

import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.config import (
    MARKETING,
    Advertiser,
    Category,
    Config,
    Controller,
    Database,
    DkimKey,
    Form,
    Ledger,
    Limits,
    Listen,
    Log,
    Login,
    Purpose,
    Route,
    Seed,
    Smarthost,
    Stream,
    Tls,
    Tool,
    Webhook,
)
from gateway.mail.categories import category_map
from gateway.mail.control_fields import owner_of
from gateway.mail.judgement import BounceRules
from gateway.mail.promotional import PromotionalRules
from gateway.mail.provider import usual
from gateway.settings.bounces import bounce_rules_of
from gateway.settings.checks import check
from gateway.settings.kinds import is_address
from gateway.settings.packs import check_terms, packs_of, terms_of
from gateway.settings.reader import Problem, Reader
from gateway.settings.wording import promotional_rules_of
from gateway.settings.write_backs import check_write_backs
from suppression.jurisdiction import PackBook
from suppression.toml_lines import error_line, parsed


class ConfigError(Exception):
    """A configuration that must not be started with; the text is one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def load(path: Path, *, environ: Mapping[str, str] = os.environ, changes: Mapping[str, Any] = {}) -> Config:
    """Read and check one configuration file. `changes`: values in place of the file's, by dotted path.

    Raises ConfigError with all problems: an unreadable file, bad TOML, unknown names, bad values, missing files or
    motivations, references to what is not declared.
    """
    path = path.absolute()
    try:
        text = path.read_text(encoding="utf-8")
        document = parsed(text)
    except FileNotFoundError:
        raise ConfigError([_problem(path, "the file does not exist", "Make one with: consentgate init")]) from None
    except OSError as error:
        raise ConfigError([_problem(path, f"cannot be read: {error.strerror}", "Check its path and mode")]) from None
    except UnicodeDecodeError:
        raise ConfigError([_problem(path, "is not UTF-8 text", "Save it as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_problem(path, f"is not TOML: {error}", "Correct the line", error_line(error))]) from None
    for key, value in changes.items():
        _put(document, key, value)
    reader = Reader(path, text, environ)
    values = reader.read(document)
    check(reader, values)
    check_write_backs(reader, values)
    book = packs_of(reader, values)
    check_terms(reader, values, book)
    bounce_rules = bounce_rules_of(reader, values)
    wording = promotional_rules_of(reader, values)
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda problem: problem.line or 0))
    files = [file for file in (values["bounce_rules"], values["promotional_rules"]) if file is not None]
    return _build(path, values, book, bounce_rules, wording, _digest(text, values["packs"], files))


def _put(document: dict[str, Any], key: str, value: object) -> None:
    """Set one value of a TOML document. Where the path leads through a value, that is for the reader to refuse."""
    *way, last = key.split(".")
    at = document
    for name in way:
        below = at.setdefault(name, {})
        if not isinstance(below, dict):
            below = at[name] = {}
        at = below
    at[last] = value


def _digest(text: str, packs: Path | None, files: Iterable[Path]) -> str:
    """What was in force: the settings, and the installation's own packs and rules where there are any."""
    found = hashlib.sha256(text.encode())
    for file in sorted(packs.glob("*.toml")) if packs is not None else ():
        found.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
    for file in files:
        found.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def _problem(path: Path, what: str, remedy: str, line: int | None = None) -> Problem:
    return Problem(file=str(path), key="", line=line, what=what, remedy=remedy)


def _build(
    path: Path, v: Mapping[str, Any], book: PackBook, bounce_rules: BounceRules, wording: PromotionalRules, digest: str
) -> Config:  # fmt: skip
    """Make the values; everything has been checked, so nothing here can fail."""
    host = urlsplit(v["public_url"]).hostname or ""
    routes = {name: _route(name, r) for name, r in v["routes"].items()}
    return Config(
        path=path,
        dir=path.parent,
        digest=digest,
        public_url=v["public_url"],
        hostname=v["hostname"] or ("localhost" if is_address(host) else host),
        database=_database(v["database"]["url"], v["database"]["password"]),
        installation_key=v["keys"]["installation"],
        keys=_database(v["keys"]["database"], v["keys"]["password"]),
        node=v["node"] or "",
        listen=Listen(**v["listen"]),
        tls=Tls(**v["tls"]) if v["tls"]["certificate"] else None,
        trusted_proxies=v["trusted_proxies"],
        limits=Limits(**v["limits"]),
        log=Log(**v["log"]),
        ledger=Ledger(
            heads_to=v["ledger"]["heads_to"],
            heads_stream=v["ledger"]["heads_stream"] or "",
            heads_controller=v["ledger"]["heads_controller"] or next(iter(v["controllers"])),
        ),
        routes=routes,
        controllers={name: _controller(name, c, routes, wording) for name, c in v["controllers"].items()},
        logins={
            name: Login(name=name, controller=controller, **login)
            for controller, c in v["controllers"].items()
            for name, login in c["logins"].items()
        },
        packs=book,
        bounce_rules=bounce_rules,
        write_back_authorities=v["write_back"]["authorities"],
        sns_hosts=v["hooks"]["sns_hosts"],
        dns_servers=v["dns"]["servers"],
        dnssec=v["dns"]["dnssec"],
        verify_one_in=v["dkim"]["verify_one_in"],
        seed=_seed(v["seed"]),
    )


def _database(place: Database, password: str | None) -> Database:
    return place if password is None else place.with_password(password)


def _route(name: str, r: Mapping[str, Any]) -> Route:
    """Who signs, where nobody said: the provider where all hosts are known ones."""
    hosts = _smarthosts(r)
    names = [one.host for one in hosts]
    direct = r["kind"] == "mx"
    said = {
        "dkim": r["dkim"] or usual(names), "provider": r["provider"] or owner_of(names), "hosts": hosts,
        "tls": r["tls"] or ("opportunistic" if direct else "verify"),
        "connections": r["connections"] or (100 if direct else 10),
    }  # fmt: skip
    return Route(name=name, **({k: x for k, x in r.items() if k not in ("username", "password", "token_file")} | said))


def _smarthosts(r: Mapping[str, Any]) -> tuple[Smarthost, ...]:
    """The hosts of a route. Without weights they are asked in the order of the list; with one, all share the load."""
    shared = any(one["weight"] for one in r["hosts"])
    return tuple(
        Smarthost(
            host=one["host"][0], port=one["host"][1], priority=one["priority"] or (1 if shared else place),
            weight=one["weight"] or 1, username=one["username"] or r["username"],
            password=(one if one["username"] else r)["password"],
            token_file=(one if one["username"] else r)["token_file"],
        )
        for place, one in enumerate(r["hosts"], 1)
    )  # fmt: skip


def _seed(s: Mapping[str, Any]) -> Seed | None:
    if s["address"] is None:
        return None
    return Seed(**(dict(s) | {"username": s["username"] or s["address"], "password": s["password"] or ""}))


def _controller(
    name: str, c: Mapping[str, Any], routes: Mapping[str, Route], wording: PromotionalRules
) -> Controller:  # fmt: skip
    parts = (
        "purposes", "categories", "streams", "forms", "dkim", "logins", "display_name", "packs", "webhooks", "tools",
    )  # fmt: skip
    return Controller(
        id=name,
        display_name=c["display_name"] or c["legal_name"],
        purposes={n: Purpose(name=n, **p) for n, p in c["purposes"].items()},
        categories={n: Category(name=n, **k) for n, k in c["categories"].items()},
        streams={n: _stream(name, n, s, c["language"], routes) for n, s in c["streams"].items()},
        forms={n: _form(name, n, f, c) for n, f in c["forms"].items()},
        dkim=tuple(DkimKey(**k) for k in c["dkim"]),
        terms=terms_of(c),
        webhooks={n: _webhook(n, w, c["streams"]) for n, w in c["webhooks"].items()},
        tools={n: Tool(name=n, **t) for n, t in c["tools"].items()},
        promotional=wording,
        category_map=category_map(
            {n: k["links"] for n, k in c["categories"].items()},
            {n: k["subjects"] for n, k in c["categories"].items()},
            c["neutral_links"],
            unmapped_unknown=c["unmapped_links"] == "unknown",
        ),
        **{k: value for k, value in c.items() if k not in parts},
    )


def _webhook(name: str, w: Mapping[str, Any], streams: Mapping[str, Any]) -> Webhook:
    """An advertiser's endpoint is about the streams that carry its offers."""
    own = tuple(n for n, s in streams.items() if w["advertiser"] and s["advertiser"]["id"] == w["advertiser"])
    return Webhook(
        name=name, url=w["url"], secrets=tuple(filter(None, (w["secret"], w["old_secret"]))),
        streams=own or w["streams"], advertiser=w["advertiser"], company=w["company"],
    )  # fmt: skip


def _form(controller: str, name: str, f: Mapping[str, Any], c: Mapping[str, Any]) -> Form:
    """A form asks for the date of birth where mail of its purposes is, or may be, aimed at children (GDPR art. 8)."""
    at_children = any(
        s["directed_at_children"] is not False
        for s in c["streams"].values()
        if s["class"] in MARKETING and set(f["purposes"]) & {s["purpose"], *s["purposes"]}
    )
    asks = f["ask_birth_date"] if f["ask_birth_date"] is not None else at_children
    values = {k: value for k, value in f.items() if k != "from"}
    return Form(controller=controller, name=name, **(values | {"sender": f["from"], "ask_birth_date": asks}))


def _stream(controller: str, name: str, s: Mapping[str, Any], language: str, routes: Mapping[str, Route]) -> Stream:
    marketing = s["class"] in MARKETING
    computed = {
        "message_class": s["class"],
        "on_block": s["on_block"] or ("record" if marketing else "reject"),
        "ad_identifiable": s["ad_identifiable"] is True,
        "directed_at_children": s["directed_at_children"] is not False,
        "b2b_relevant": s["b2b_relevant"] is True,
        "charitable_only": s["charitable_only"] is True,
        "language": s["language"] or language,
        "retry_for": s["retry_for"] or timedelta(days=2 if marketing else 5),
        "list_id": s["list_id"] or f"{name}.{s['from_domains'][0]}",
        "advertiser": Advertiser(**s["advertiser"]) if s["advertiser"]["id"] else None,
        "provider": routes[s["route"]].provider,
    }
    return Stream(controller=controller, name=name, **({k: x for k, x in s.items() if k != "class"} | computed))
