"""What settings must agree on among themselves; each rule adds its problems to the reader and goes on.

Values that could not be read are in `reader.failed`; rules pass them by, so that one mistake is reported once.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gateway.mail.provider import usual
from gateway.settings.file_kinds import read_installation_keys
from gateway.settings.kinds import Bad, is_loopback
from gateway.settings.reader import Reader
from gateway.settings.table import FACTS

Values = Mapping[str, Any]


def check(reader: Reader, v: Values) -> None:
    """Run every rule over the values as read."""
    _installation(reader, v)
    _databases(reader, v["database"], v["keys"])
    _listeners(reader, v)
    _dns(reader, v)
    for name, route in v["routes"].items():
        _route(reader, f"routes.{name}", route)
    if not v["controllers"]:
        reader.problem("controllers", "no controller is declared", "Add [controllers.NAME] for the sender of the mail")
    for name, controller in v["controllers"].items():
        _controller(reader, v, f"controllers.{name}", controller)
    _heads(reader, v)
    _seed(reader, v["seed"])
    _unique(reader, v)


def _dns(reader: Reader, v: Values) -> None:
    """Whoever says that an answer is authentic is on this machine: on the way from elsewhere anybody could say so."""
    away = [host for host, _ in v["dns"]["servers"] if not is_loopback(host)]
    if v["dns"]["dnssec"] and away:
        reader.problem("dns.dnssec", f"{away[0]} is off this machine", "Run a validating resolver here, or remove it")


def _heads(reader: Reader, v: Values) -> None:
    """Whoever is to get heads can be mailed them."""
    ledger = v["ledger"]
    if not ledger["heads_to"] or _any_failed(reader, "ledger"):
        return
    owner, stream = ledger["heads_controller"], ledger["heads_stream"]
    if owner is None and len(v["controllers"]) > 1:
        reader.problem("ledger.heads_controller", "is missing", "Name the controller in whose name heads are mailed")
        return
    if owner is not None:
        _known(reader, "ledger.heads_controller", (owner,), v["controllers"], "controller", "controllers")
    sender = v["controllers"].get(owner) if owner else next(iter(v["controllers"].values()), None)
    if stream is None:
        reader.problem("ledger.heads_stream", "is missing", "Name a stream whose route and domain heads leave by")
    elif sender is not None:
        _known(reader, "ledger.heads_stream", (stream,), sender["streams"], "stream", "streams")


def _seed(reader: Reader, seed: Values) -> None:
    """A mailbox that can be read without its password going in clear."""
    if seed["imap"] is None:
        return
    if seed["address"] is None and "seed.address" not in reader.failed:
        reader.problem("seed.address", "is missing", "Name the mailbox that seed.imap reads", near="seed.imap")
    if not seed["password"] and not any(key.startswith("seed.password") for key in reader.failed):
        reader.problem("seed.password", "is missing", "Give it in a file: seed.password_file", near="seed.imap")
    if seed["tls"] == "none" and not is_loopback(seed["imap"][0]):
        reader.problem("seed.tls", "would let the password go in clear", 'Use "verify"')


def _installation(reader: Reader, v: Values) -> None:
    url = urlsplit(v["public_url"] or "")
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        reader.problem("public_url", "is plain http", "Use https: links in mail must not be readable on the way")
    if url.query or url.fragment or url.path or url.username:
        reader.problem("public_url", "holds more than a scheme, host and port", "Leave out path, query and login")
    try:
        read_installation_keys(v["keys"]["installation"])
    except Bad as bad:
        reader.problem("keys.installation", bad.what, bad.remedy)


def _databases(reader: Reader, database: Values, keys: Values) -> None:
    """Data and keys apart, both within reach of every node, and one password for each at most."""
    for name, place, password in (
        ("database", database["url"], database["password"]), ("keys", keys["database"], keys["password"]),
    ):  # fmt: skip
        if place is None or password is None:
            continue
        if place.file is not None:
            reader.problem(f"{name}.password", "has no meaning for a file", "Remove it")
        elif not place.takes_password:
            what = "stands beside a URL that names no user, or has a password"
            reader.problem(f"{name}.password", what, "Write the URL as postgresql://USER@HOST/NAME")
    data, own = database["url"], keys["database"]
    if data is None or own is None:
        return
    if data.name == own.name:
        remedy = "Give the keys a database of their own: what is deleted there must be gone at once"
        reader.problem("keys.database", "is the database of everything else", remedy)
    elif data.file is not None and own.file is None:
        remedy = 'Give database.url a server too, or keep the keys in a file: "keys.db"'
        reader.problem("keys.database", "is on a server, and the data in a file", remedy)


def _listeners(reader: Reader, v: Values) -> None:
    listen, tls = v["listen"], v["tls"]
    present = [part for part in ("certificate", "key") if tls[part] or f"tls.{part}" in reader.failed]
    if len(present) == 1:
        missing = "key" if present == ["certificate"] else "certificate"
        reader.problem(f"tls.{missing}", "is missing", "Give both the certificate and its key")
    if listen["submissions"] and not present:
        reader.problem("listen.submissions", "needs a certificate", "Set tls.certificate and tls.key")
    for part in ("submission", "return_path"):
        addresses = listen[part] if part == "submission" else (listen[part],)
        for host, _ in filter(None, addresses):
            if not is_loopback(host) and not present:
                reader.problem(
                    f"listen.{part}", f"{host} is off loopback without TLS", "Set tls.certificate and tls.key"
                )
    if listen["web"] and not is_loopback(listen["web"][0]) and not v["trusted_proxies"]:
        remedy = "Name the reverse proxy that ends TLS in trusted_proxies, or listen on loopback"
        reader.problem("listen.web", f"{listen['web'][0]} is off loopback without TLS", remedy)
    seen: dict[tuple[str, int], str] = {}
    for part in ("submission", "submissions", "web", "return_path"):
        addresses = listen[part] if part.startswith("submission") else (listen[part],)
        for address in filter(None, addresses):
            if address[1] and address in seen:
                reader.problem(
                    f"listen.{part}", f"port {address[1]} is taken by {seen[address]}", "Give each its own port"
                )
            seen.setdefault(address, part)


def _route(reader: Reader, key: str, route: Values) -> None:
    if route["kind"] == "capture" and route["hosts"]:
        reader.problem(f"{key}.hosts", "has no meaning on a capture route", 'Set kind = "smarthost" or remove it')
    if route["kind"] == "capture" and route["dkim"] == "upstream":
        reader.problem(f"{key}.dkim", "is upstream on a capture route", "Remove it: nothing leaves, so we sign")
    if route["kind"] == "smarthost" and not route["hosts"] and f"{key}.hosts" not in reader.failed:
        reader.problem(f"{key}.hosts", "is missing", "Name at least one HOST:PORT")
    if route["kind"] == "mx":
        _direct(reader, key, route)
    _smarthosts(reader, key, route)


def _direct(reader: Reader, key: str, route: Values) -> None:
    """DNS names the servers, and nobody stands between them and us."""
    if route["hosts"]:
        reader.problem(f"{key}.hosts", "has no meaning on an mx route", 'Set kind = "smarthost" or remove it')
    if route["username"] or route["password"]:
        login = "username" if route["username"] else "password"
        reader.problem(f"{key}.{login}", "has no meaning on an mx route", "Remove it: there is nobody to log in to")
    if route["dkim"] == "upstream":
        reader.problem(f"{key}.dkim", "is upstream on an mx route", "Remove it: nobody signs after us")
    if route["port"] is not None and route["port"] > 65535:
        reader.problem(f"{key}.port", "is no port", "Remove it: mail servers listen on 25")


def _smarthosts(reader: Reader, key: str, route: Values) -> None:
    """Each host once; logins whole, and never where the password would be read on the way."""
    seen: set[Any] = set()
    for number, one in enumerate(route["hosts"], 1):
        _login(reader, f"{key}.hosts.{number}", one)
        if one["host"] in seen:
            place = "{}:{}".format(*one["host"])
            reader.problem(f"{key}.hosts.{number}.host", f"{place} stands twice", "Remove one, or give it a weight")
        seen.add(one["host"] or number)
    _login(reader, key, route)
    in_clear = route["tls"] in ("none", "opportunistic")
    hosts = [one for one in route["hosts"] if one["host"] is not None and not is_loopback(one["host"][0])]
    if in_clear and any(one["username"] or route["username"] for one in hosts):
        reader.problem(f"{key}.tls", "would let the password go in clear", 'Use "verify" (or "require")')


def _login(reader: Reader, key: str, at: Values) -> None:
    """A user name with what proves it, one way."""
    if any(found.startswith((f"{key}.username", f"{key}.password", f"{key}.token")) for found in reader.failed):
        return
    if at["password"] and at["token_file"]:
        reader.problem(f"{key}.token_file", "stands beside a password", "Keep one of them")
    elif bool(at["username"]) != bool(at["password"] or at["token_file"]):
        missing = "password" if at["username"] else "username"
        reader.problem(f"{key}.{missing}", "is missing", "Give both username and password (or token_file), or neither")


def _controller(reader: Reader, v: Values, key: str, c: Values) -> None:
    if len({":" in address for address in c["source_addresses"]}) < len(c["source_addresses"]):
        reader.problem(f"{key}.source_addresses", "has two of one family", "Leave one IPv4 and one IPv6 address")
    if c["default_country"] and not c["default_country_motivation"]:
        _motivate(reader, f"{key}.default_country_motivation", key, "default_country")
    for name, category in c["categories"].items():
        _category(reader, f"{key}.categories.{name}", name, category, c["categories"])
    for name, stream in c["streams"].items():
        _stream(reader, v, f"{key}.streams.{name}", stream, key, c)
    for name, form in c["forms"].items():
        _form(reader, v, f"{key}.forms.{name}", form, key, c)
    for name, login in c["logins"].items():
        _known(reader, f"{key}.logins.{name}.streams", login["streams"], c["streams"], "stream", f"{key}.streams")
        below = f"{key}.logins.{name}"
        if not login["streams"] and f"{below}.streams" not in reader.failed:
            reader.problem(f"{below}.streams", "is empty", "Name at least one stream")
        if not login["password_hash"] and not login["allowed_ips"] and not _any_failed(reader, below):
            reader.problem(
                f"{below}.password_hash", "is missing", "Give a password_hash, or allowed_ips for an old tool"
            )
    for number, dkim in enumerate(c["dkim"], 1):
        _within(reader, f"{key}.dkim.{number}.domain", (dkim["domain"],), c["domains"], key)
        _dkim(reader, f"{key}.dkim.{number}", dkim, c["dkim"][: number - 1])


def _dkim(reader: Reader, key: str, dkim: Values, before: Sequence[Values]) -> None:
    """One record per name in DNS; a key that signs no more has the day since when (RFC 6376 3.6.2.2)."""
    if any((one["domain"], one["selector"]) == (dkim["domain"], dkim["selector"]) for one in before):
        reader.problem(f"{key}.selector", "stands twice for this domain", "Give each key a selector of its own")
    if dkim["state"] == "retired" and dkim["retired_at"] is None and f"{key}.retired_at" not in reader.failed:
        reader.problem(
            f"{key}.retired_at", "is missing", "Say since when, as 2026-12-15T10:00:00Z", near=f"{key}.state"
        )


def _category(reader: Reader, key: str, name: str, category: Values, all_of_them: Values) -> None:
    _known(reader, f"{key}.similar_to", category["similar_to"], all_of_them, "category", key.rpartition(".")[0])
    if category["similar_to"] and not category["motivation"]:
        _motivate(reader, f"{key}.motivation", key, "similar_to")
    if name in category["similar_to"]:
        reader.problem(f"{key}.similar_to", "names the category itself", "Remove it")
    if category["parent"]:
        _known(reader, f"{key}.parent", (category["parent"],), all_of_them, "category", key.rpartition(".")[0])
    above, seen = category["parent"], {name}
    while above in all_of_them and above not in seen:
        seen.add(above)
        above = all_of_them[above]["parent"]
    if above == name:
        reader.problem(f"{key}.parent", "makes a circle of parents", "Let the topmost category have none")


def _stream(reader: Reader, v: Values, key: str, s: Values, above: str, c: Values) -> None:
    _known(reader, f"{key}.route", filter(None, (s["route"],)), v["routes"], "route", "routes")
    _known(reader, f"{key}.purpose", filter(None, (s["purpose"],)), c["purposes"], "purpose", f"{above}.purposes")
    _known(reader, f"{key}.purposes", s["purposes"], c["purposes"], "purpose", f"{above}.purposes")
    _known(reader, f"{key}.categories", s["categories"], c["categories"], "category", f"{above}.categories")
    _within(reader, f"{key}.from_domains", s["from_domains"], c["domains"], above)
    _advertiser(reader, f"{key}.advertiser", s["advertiser"], above)
    if not s["from_domains"] and f"{key}.from_domains" not in reader.failed:
        reader.problem(f"{key}.from_domains", "is empty", "Name at least one domain")
    if s["mode"] == "observe":
        if "observe" not in s["motivation"] and f"{key}.motivation" not in reader.failed:
            _motivate(reader, f"{key}.motivation.observe", key, "mode")
        if s["observe_until"] is None and f"{key}.observe_until" not in reader.failed:
            what = "is missing: observing needs an end"
            reader.problem(f"{key}.observe_until", what, "Name a day at most 30 days off", near=f"{key}.mode")
    if s["mislabelled"] == "allow-and-flag" and "mislabelled" not in s["motivation"]:
        _motivate(reader, f"{key}.motivation.mislabelled", key, "mislabelled")
    for fact in FACTS:
        if s[fact] is not None and fact not in s["motivation"] and f"{key}.motivation" not in reader.failed:
            _motivate(reader, f"{key}.motivation.{fact}", key, fact)


def _advertiser(reader: Reader, key: str, advertiser: Values, above: str) -> None:
    if advertiser["legal_name"] and not advertiser["id"] and f"{key}.id" not in reader.failed:
        reader.problem(f"{key}.id", "is missing", "Name the advertiser as the consents do, in `advertisers`")
    if advertiser["id"] and above == f"controllers.{advertiser['id']}":
        reader.problem(f"{key}.id", "is the controller itself", "Remove the advertiser: own offers need none")


def _form(reader: Reader, v: Values, key: str, f: Values, above: str, c: Values) -> None:
    """What a sign-up form names is there, and its mail can leave, signed, in the controller's name."""
    _known(reader, f"{key}.purposes", f["purposes"], c["purposes"], "purpose", f"{above}.purposes")
    if not f["purposes"] and f"{key}.purposes" not in reader.failed:
        reader.problem(f"{key}.purposes", "is empty", "Name at least one purpose")
    _known(reader, f"{key}.stream", filter(None, (f["stream"],)), c["streams"], "stream", f"{above}.streams")
    if f"{key}.from" in reader.failed or not f["from"]:
        return
    domain = f["from"].rpartition("@")[2] if "@" in f["from"] else ""
    if not domain or "://" in f["from"]:
        reader.problem(f"{key}.from", "is not an e-mail address", "Write one of the controller's, as news@example.com")
    elif f["stream"] in c["streams"] and domain not in c["streams"][f["stream"]]["from_domains"]:
        remedy = f"Use one of: {', '.join(c['streams'][f['stream']]['from_domains'])}"
        reader.problem(f"{key}.from", f"{domain!r} is not a From domain of the stream {f['stream']!r}", remedy)
    elif not _signed(v, c, f["stream"], domain):
        remedy = f"Add [[{above}.dkim]] for it: the mail that asks to confirm is signed"
        reader.problem(f"{key}.from", f"there is no DKIM key for {domain}", remedy)


def _signed(v: Values, c: Values, stream: str, domain: str) -> bool:
    """Whether mail of a stream leaves signed: by a key for its domain, or by the provider behind its route."""
    s = c["streams"].get(stream)
    route = v["routes"].get(s["route"]) if s is not None else None
    hosts = [one["host"][0] for one in route["hosts"] if one["host"]] if route else []
    who = (s and s["dkim"]) or (route and (route["dkim"] or usual(hosts)))
    return who == "upstream" or any(key["domain"] == domain and key["state"] == "signing" for key in c["dkim"])


def _unique(reader: Reader, v: Values) -> None:
    """Login names and return domains lead to one controller only."""
    logins: dict[str, str] = {}
    domains: dict[str, str] = {}
    heard: dict[str, str] = {}
    for name, c in v["controllers"].items():
        for login in c["logins"]:
            if login in logins:
                key = f"controllers.{name}.logins.{login}"
                reader.problem(key, f"is also a login of {logins[login]}", "Give each login its own name")
            logins[login] = name
        if c["return_domain"] in domains:
            key = f"controllers.{name}.return_domain"
            reader.problem(key, f"is also that of {domains[c['return_domain']]}", "Give each controller its own")
        if c["return_domain"]:
            domains[c["return_domain"]] = name
        for address in map(str.lower, c["heard_at"]):
            if heard.setdefault(address, name) != name:
                key = f"controllers.{name}.heard_at"
                reader.problem(key, f"has an address of {heard[address]}", "Give each controller its own")


def _known(reader: Reader, key: str, names: Any, declared: Values, what: str, where: str) -> None:
    for name in names:
        if name not in declared:
            have = ", ".join(declared) or "none"
            reader.problem(key, f"there is no {what} {name!r}", f"Add [{where}.{name}] or use one of: {have}")


def _within(reader: Reader, key: str, names: Any, domains: tuple[str, ...], above: str) -> None:
    if f"{above}.domains" in reader.failed:
        return
    for name in filter(None, names):
        if name not in domains:
            reader.problem(
                key, f"{name!r} is not a domain of the controller", f"Add it to {above}.domains or remove it"
            )


def _motivate(reader: Reader, key: str, above: str, fact: str) -> None:
    what = f"{fact} is declared without a motivation"
    reader.problem(key, what, "Write why it is true; it is kept as evidence", near=f"{above}.{fact}")


def _any_failed(reader: Reader, prefix: str) -> bool:
    return any(key.startswith(prefix + ".") for key in reader.failed)
