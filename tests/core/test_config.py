"""Configuration: a good file becomes values and documented defaults; each kind of mistake is named with its place."""

import base64
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.settings import table
from gateway.settings.file_kinds import read_installation_keys
from gateway.settings.kinds import Bad
from gateway.settings.load import ConfigError, load
from gateway.settings.readiness import serve_problems, serve_warnings
from suppression.toml_lines import lines_of

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEY = base64.b64encode(b"k" * 32).decode()
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
GOOD = f"""public_url = "http://127.0.0.1:8080"
[routes.main]
kind = "smarthost"
hosts = ["127.0.0.1:2600"]
[controllers.acme]
legal_name = "Acme Wijnen B.V."
country = "NL"
default_country = "NL"
default_country_motivation = "Sells in the Netherlands only."
domains = ["acme.example", "Café.example"]
[controllers.acme.purposes.newsletter]
title = {{ nl = "de nieuwsbrief" }}
[controllers.acme.categories.wine]
similar_to = ["spirits"]
motivation = "Drinks of one shop."
[controllers.acme.categories.spirits]
parent = "wine"
[controllers.acme.streams.news]
class = "marketing"
purpose = "newsletter"
categories = ["wine"]
from_domains = ["acme.example"]
ad_identifiable = true
motivation.ad_identifiable = "The layout shows it."
[controllers.acme.streams.orders]
class = "transactional"
from_domains = ["acme.example"]
[controllers.acme.logins.tool]
password_hash = "{HASH}"
streams = ["news"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what a configuration names: the installation key and a certificate's key."""
    (tmp_path / "keys").mkdir()
    for name, text in (("keys/installation.key", f"1 {KEY}\n"), ("private.pem", "x"), ("secret", "geheim\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "cert.pem").write_text("x")
    return tmp_path


def loaded(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "consentgate.toml"
    file.write_text(text, "utf-8")
    return load(file, environ=environ)


def test_a_good_file_becomes_values_with_defaults(folder: Path) -> None:
    config = loaded(folder, GOOD)
    acme = config.controllers["acme"]
    news, orders = acme.streams["news"], acme.streams["orders"]
    assert config.database.file == folder / "consentgate.db"
    assert config.hostname == "localhost"
    assert config.listen.submission == (("127.0.0.1", 2525),)
    assert config.limits.message_bytes == 25 * 1024 * 1024
    assert acme.domains == ("acme.example", "xn--caf-dma.example")
    assert acme.display_name == "Acme Wijnen B.V."
    assert (news.on_block, news.retry_for, news.language) == ("record", timedelta(days=2), "en")
    assert (orders.on_block, orders.retry_for) == ("reject", timedelta(days=5))
    assert news.list_id == "news.acme.example"
    assert config.logins["tool"].streams == ("news",)
    assert config.logins["tool"].controller == "acme"


def test_a_fact_that_is_not_declared_has_the_value_that_blocks(folder: Path) -> None:
    """RULES.md 2.1.3: what is not known never leads to allow."""
    orders = loaded(folder, GOOD).controllers["acme"].streams["orders"]
    assert not orders.ad_identifiable
    assert orders.directed_at_children
    assert not orders.b2b_relevant
    assert not orders.charitable_only
    assert orders.transaction_ref is None


# what is replaced, by what, end of the key, line it is reported on (None: where the replacement begins), remedy
MISTAKES = {
    "unknown name": ("country =", "contry =", "controllers.acme.contry", None, "Did you mean country?"),
    "missing": ('country = "NL"\ndef', "def", "controllers.acme.country", "[controllers.acme]", "Add it"),
    "wrong type": ('kind = "smarthost"', "kind = 3", "routes.main.kind", None, "quotes"),
    "choice": ('"smarthost"', '"smarthos"', "routes.main.kind", None, "capture or smarthost"),
    "flag": (
        "ad_identifiable = true",
        'ad_identifiable = "yes"',
        "streams.news.ad_identifiable",
        None,
        "true or false",
    ),
    "host": ("127.0.0.1:2600", "127.0.0.1", "routes.main.hosts.1.host", None, "127.0.0.1:2525"),
    "port": ("127.0.0.1:2600", "127.0.0.1:70000", "routes.main.hosts.1.host", None, "127.0.0.1:2525"),
    "address": ("127.0.0.1:2600", "127.0.0.999:25", "routes.main.hosts.1.host", None, "127.0.0.1:2525"),
    "domain": ('"acme.example", "C', '"acme..example", "C', "controllers.acme.domains", None, "after the @"),
    "country": ('\ncountry = "NL"', '\ncountry = "UK"', "controllers.acme.country", None, "GB"),
    "empty title": ('nl = "de nieuwsbrief"', 'nl = ""', "purposes.newsletter.title.nl", "title = ", "sentence"),
    "language": ("{ nl = ", "{ xx = ", "purposes.newsletter.title.xx", "title = ", "nl, en, fr or de"),
    "name": ("streams.news]", "streams.News]", "controllers.acme.streams.News", None, "lower-case"),
    "unknown purpose": ('purpose = "newsletter"', 'purpose = "news"', "streams.news.purpose", None, "newsletter"),
    "unknown category": ('categories = ["wine"]', 'categories = ["wien"]', "news.categories", None, "wine, spirits"),
    "unknown similar": ('["spirits"]', '["spirit"]', "categories.wine.similar_to", None, "wine, spirits"),
    "unknown parent": ('parent = "wine"', 'parent = "drink"', "categories.spirits.parent", None, "wine, spirits"),
    "circle": ('parent = "wine"', 'parent = "spirits"', "categories.spirits.parent", None, "topmost"),
    "unknown stream": ('streams = ["news"]', 'streams = ["new"]', "logins.tool.streams", None, "news, orders"),
    "no stream": ('streams = ["news"]', "streams = []", "logins.tool.streams", None, "at least one"),
    "foreign From domain": (
        'from_domains = ["acme.example"]\nad_',
        'from_domains = ["evil.example"]\nad_',
        "news.from_domains",
        None,
        "Add it to",
    ),
    "no motivation of a fact": (
        "motivation.ad_identifiable",
        "motivation.b2b_relevant",
        "news.motivation.ad_identifiable",
        "ad_identifiable = true",
        "why it is true",
    ),
    "no motivation of the country": (
        "default_country_motivation",
        "notice_version",
        "acme.default_country_motivation",
        "default_country =",
        "why it is true",
    ),
    "no motivation of similarity": (
        'motivation = "Drinks of one shop."',
        "",
        "categories.wine.motivation",
        "similar_to =",
        "why it is true",
    ),
    "unknown fact": ("motivation.ad_", "motivation.add_", "news.motivation.add_identifiable", None, "ad_identifiable"),
    "hash": (HASH, "geheim", "logins.tool.password_hash", None, "user hash"),
    "login without password": (
        f'password_hash = "{HASH}"\n',
        "",
        "logins.tool.password_hash",
        "[controllers.acme.logins.tool]",
        "allowed_ips",
    ),
    "capture with hosts": ('"smarthost"', '"capture"', "routes.main.hosts", "hosts = ", "smarthost"),
    "smarthost without hosts": ('hosts = ["127.0.0.1:2600"]\n', "", "routes.main.hosts", "[routes.main]", "HOST:PORT"),
    "http off loopback": ("http://127.0.0.1:8080", "http://mail.example", "public_url", None, "https"),
    "url with a path": ("http://127.0.0.1:8080", "https://mail.example/x", "public_url", None, "path"),
    "no controller": (GOOD[GOOD.index("[controllers.acme]") :], "", "controllers", None, "[controllers.NAME]"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_file_line_key_and_remedy(folder: Path, mistake: str) -> None:
    old, new, key, on, remedy = MISTAKES[mistake]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    found = [problem for problem in caught.value.problems if problem.key.endswith(key)]
    assert found, str(caught.value)
    assert remedy in found[0].remedy
    at = text.index(on) if on else GOOD.index(old) + old.startswith("\n")
    line = text[:at].count("\n") + 1
    if mistake not in ("no controller", "name"):
        assert found[0].line == line
        assert str(found[0]).startswith(f"{folder}/consentgate.toml:{line}: ")


ADDED = {
    "duration": ("[controllers.acme.streams.news]", "retry_for = 2", "news.retry_for", "2d"),
    "duration of none": ("[controllers.acme.streams.news]", 'retry_for = "0d"', "news.retry_for", "2d"),
    "size": ("[routes.main]", "connections = 0", "routes.main.connections", "digits"),
    "colour": ("[controllers.acme]", 'accent = "red"', "acme.accent", "#14532d"),
    "time zone": ("[controllers.acme]", 'timezone = "Mars/Base"', "acme.timezone", "Europe/Amsterdam"),
    "contact": ("[controllers.acme]", 'opt_out_contact = "phone us"', "acme.opt_out_contact", "reaches a person"),
    "notice": ("[controllers.acme]", 'notice_url = "acme.example"', "acme.notice_url", "https"),
    "charity": ("[controllers.acme]", "is_charity = 1", "acme.is_charity", "true or false"),
    "unknown route": ("[controllers.acme.streams.news]", 'route = "mian"', "news.route", "main"),
    "value and file": (
        "[routes.main]",
        'username = "u"\npassword = "p"\npassword_file = "secret"',
        "main.password_file",
        "Keep one",
    ),
    "no such variable": (
        "[routes.main]",
        'username = "u"\npassword_env = "NOPE"',
        "main.password_env",
        "before the start",
    ),
    "no such secret": (
        "[routes.main]",
        'username = "u"\npassword_file = "nope"',
        "main.password_file",
        "Correct the path",
    ),
    "password alone": ("[routes.main]", 'password = "p"', "main.username", "both"),
    "network": ("[controllers.acme.logins.tool]", 'allowed_ips = ["10.0.0.1/8"]', "tool.allowed_ips", "192.0.2.0/24"),
    "twice": (
        "[controllers.acme.streams.news]",
        'purposes = ["newsletter", "newsletter"]',
        "news.purposes",
        "Remove one",
    ),
}


@pytest.mark.parametrize("mistake", ADDED)
def test_a_mistake_in_an_added_line_is_named(folder: Path, mistake: str) -> None:
    table, line, key, remedy = ADDED[mistake]
    with pytest.raises(ConfigError) as caught:
        loaded(folder, GOOD.replace(table + "\n", f"{table}\n{line}\n", 1))
    found = [problem for problem in caught.value.problems if problem.key.endswith(key)]
    assert found, str(caught.value)
    assert remedy in found[0].remedy


HOSTS = 'hosts = ["127.0.0.1:2600"]'


def test_hosts_come_in_order_or_share_the_load(folder: Path) -> None:
    def hosts(text: str) -> list[tuple[str, int, int, str | None, str | None]]:
        route = loaded(folder, GOOD.replace(HOSTS, text)).routes["main"]
        return [(one.host, one.priority, one.weight, one.username, one.password) for one in route.hosts]

    assert hosts('hosts = ["127.0.0.1:25", "127.0.0.2:25"]') == [
        ("127.0.0.1", 1, 1, None, None), ("127.0.0.2", 2, 1, None, None)
    ]  # fmt: skip
    assert hosts(
        'username = "u"\npassword = "p"\n'
        'hosts = ["127.0.0.1:25", { host = "127.0.0.2:25", weight = 2, username = "v", password_file = "secret" }, '
        '{ host = "127.0.0.3:25", priority = 2 }]'
    ) == [("127.0.0.1", 1, 1, "u", "p"), ("127.0.0.2", 1, 2, "v", "geheim"), ("127.0.0.3", 2, 1, "u", "p")]


def test_a_rate_may_be_given_per_domain(folder: Path) -> None:
    text = GOOD.replace(HOSTS, HOSTS + '\ndomain_rates = { "Exämple.com" = 5, "*" = 0.5 }')
    assert loaded(folder, text).routes["main"].domain_rates == {"xn--exmple-cua.com": 5.0, "*": 0.5}


@pytest.mark.parametrize(
    ("lines", "key", "remedy"),
    [
        ('hosts = "127.0.0.1:25"', "hosts", "square brackets"),
        ("hosts = [25]", "hosts.1", "HOST:PORT"),
        ('hosts = ["127.0.0.1:25", "127.0.0.1:25"]', "hosts.2.host", "Remove one"),
        ('hosts = [{ host = "127.0.0.1:25", wieght = 2 }]', "hosts.1.wieght", "Did you mean weight?"),
        ("hosts = [{ weight = 2 }]", "hosts.1.host", "Add it"),
        ('hosts = [{ host = "127.0.0.1:25", weight = 0 }]', "hosts.1.weight", "digits"),
        ('hosts = [{ host = "127.0.0.1:25", username = "u" }]', "hosts.1.password", "both"),
        ('hosts = [{ host = "127.0.0.1:25", username = "u", password_file = "no" }]', "hosts.1.password_file", "path"),
        ('hosts = [{ host = "127.0.0.1:25", username = "u", token_file = "no" }]', "hosts.1.token_file", "path"),
        (HOSTS + '\nusername = "u"\npassword = "p"\ntoken_file = "secret"', "token_file", "Keep one"),
        (HOSTS + '\ntoken_file = "secret"', "username", "both"),
        ('hosts = [{ host = "a.example:25", username = "u", password = "p" }]\ntls = "opportunistic"', "tls", "verify"),
        (HOSTS + "\ndomain_rates = 5", "domain_rates", "example.com"),
        (HOSTS + '\ndomain_rates = { "a..b" = 5 }', "domain_rates", "after the @"),
        (HOSTS + '\ndomain_rates = { "a.example" = 0 }', "domain_rates", "digits"),
    ],
)
def test_a_mistake_about_hosts_names_the_entry(folder: Path, lines: str, key: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, GOOD.replace(HOSTS, lines))
    [found] = [problem for problem in caught.value.problems if problem.key == f"routes.main.{key}"]
    assert remedy in found.remedy, found


def test_tables_of_their_own_are_checked(folder: Path) -> None:
    text = GOOD + (
        '[tls]\ncertificate = "nope.pem"\n[database]\nurl = "mysql:x"\n[limits]\nmessage_bytes = "25 lots"\n'
        '[listen]\nsubmission = ["0.0.0.0:25"]\nweb = "127.0.0.1:25"\nreturn_path = "127.0.0.1:25"\n'
        '[[controllers.acme.dkim]]\ndomain = "other.example"\nselector = "a b"\nkey = "cert.pem"\n'
    )
    (folder / "cert.pem").chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    keys = {problem.key for problem in caught.value.problems}
    assert {
        "tls.certificate", "tls.key", "database.url", "limits.message_bytes", "listen.return_path",
        "controllers.acme.dkim.1.domain", "controllers.acme.dkim.1.selector", "controllers.acme.dkim.1.key",
    } <= keys  # fmt: skip
    assert [problem.line for problem in caught.value.problems] == sorted(p.line or 0 for p in caught.value.problems)


@pytest.mark.parametrize(
    ("listen", "key"),
    [
        ('submission = ["0.0.0.0:25"]', "listen.submission"),
        ('submissions = ["127.0.0.1:465"]', "listen.submissions"),
        ('return_path = "192.0.2.1:25"', "listen.return_path"),
        ('web = "0.0.0.0:80"', "listen.web"),
    ],
)
def test_a_listener_off_loopback_needs_tls(folder: Path, listen: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, GOOD + f"[listen]\n{listen}\n")
    assert key in {problem.key for problem in caught.value.problems}
    tls = '[tls]\ncertificate = "cert.pem"\nkey = "private.pem"\n'
    config = loaded(folder, 'trusted_proxies = ["127.0.0.1"]\n' + GOOD + f"[listen]\n{listen}\n{tls}")
    assert config.tls is not None


def test_a_password_never_goes_in_clear_to_another_machine(folder: Path) -> None:
    away = 'hosts = ["mx.example:587"]\nusername = "u"\npassword = "p"\ntls = "verify"'
    text = GOOD.replace('hosts = ["127.0.0.1:2600"]', away)
    for policy in ("none", "opportunistic"):
        with pytest.raises(ConfigError, match=r"routes\.main\.tls"):
            loaded(folder, text.replace('"verify"', f'"{policy}"'))
    assert loaded(folder, text).routes["main"].hosts[0].password == "p"


def test_a_secret_comes_from_value_file_or_environment(folder: Path) -> None:
    base = 'hosts = ["127.0.0.1:2600"]\nusername = "u"\n'
    for line, secret in (
        ('password = "plain"', "plain"),
        ('password_file = "secret"', "geheim"),
        ('password_env = "RELAY_PASSWORD"', "from the environment"),
    ):
        text = GOOD.replace('hosts = ["127.0.0.1:2600"]\n', f"{base}{line}\n")
        config = loaded(folder, text, RELAY_PASSWORD="from the environment")
        assert config.routes["main"].hosts[0].password == secret
        assert secret not in repr(config)


def test_a_secret_file_open_to_others_stops_the_start(folder: Path) -> None:
    (folder / "secret").chmod(0o640)
    hosts = 'hosts = ["127.0.0.1:2600"]\n'
    text = GOOD.replace(hosts, f'{hosts}username = "u"\npassword_file = "secret"\n')
    with pytest.raises(ConfigError, match="chmod 600"):
        loaded(folder, text)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (f"1 {KEY}\n", 0o640, "chmod 600"),
        ("", 0o600, "holds no key"),
        (f"x {KEY}\n", 0o600, "line 1"),
        ("1 AAAA\n", 0o600, "line 1"),
        ("1 not-base64!\n", 0o600, "line 1"),
        (f"1 {KEY}\n1 {KEY}\n", 0o600, "line 2"),
    ],
)
def test_a_bad_installation_key_stops_the_start(folder: Path, content: str, mode: int, said: str) -> None:
    file = folder / "keys/installation.key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=said):
        loaded(folder, GOOD)


def test_installation_keys_are_read_by_id(folder: Path) -> None:
    file = folder / "keys/installation.key"
    other = base64.b64encode(b"o" * 32).decode()
    file.write_text(f"# kept in the safe too\n1 {KEY}\n\n7 {other}\n")
    assert read_installation_keys(file) == {1: b"k" * 32, 7: b"o" * 32}
    file.unlink()
    with pytest.raises(Bad):
        read_installation_keys(file)


def test_two_controllers_share_neither_login_nor_return_domain(folder: Path) -> None:
    first = GOOD[GOOD.index("[controllers.acme]") :].replace("domains =", 'return_domain = "b.example"\ndomains =', 1)
    text = GOOD[: GOOD.index("[controllers.acme]")] + first + first.replace("controllers.acme", "controllers.zus")
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    assert {p.key for p in caught.value.problems} == {"controllers.zus.logins.tool", "controllers.zus.return_domain"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), (b"a = \n", ":1: is not TOML"), (b'a = "\xff"', "UTF-8")],
)
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "consentgate.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load(file)
    assert len(caught.value.problems) == 1


def test_plain_http_is_not_served_to_a_smarthost_off_loopback(folder: Path) -> None:
    assert serve_problems(loaded(folder, GOOD), NOW) == ()
    away = GOOD.replace("127.0.0.1:2600", "mx.example:25")
    assert [p.key for p in serve_problems(loaded(folder, away), NOW)] == ["routes.main.hosts"]
    assert serve_problems(loaded(folder, away.replace("http://127.0.0.1:8080", "https://mail.example")), NOW) == ()


OBSERVING = GOOD.replace(
    "ad_identifiable = true\n",
    'mode = "observe"\nobserve_until = 2026-12-15\nmotivation.observe = "The list comes over."\n'
    "ad_identifiable = true\n",
)


def test_observing_has_a_reason_and_an_end(folder: Path) -> None:
    for taken, key in (("observe_until = 2026-12-15\n", "observe_until"), ('motivation.observe = "The list comes', "")):
        text = OBSERVING.replace(taken, 'motivation.b2b_relevant = "The list comes' if not key else "")
        with pytest.raises(ConfigError) as caught:
            loaded(folder, text)
        assert [p.key for p in caught.value.problems] == [
            f"controllers.acme.streams.news.{key or 'motivation.observe'}"
        ]
        assert caught.value.problems[0].line


@pytest.mark.parametrize("odd", ['"2026-13-01"', "2026-12-15T10:00:00Z", "30", '"in a month"'])
def test_the_end_of_observing_is_a_day(folder: Path, odd: str) -> None:
    with pytest.raises(ConfigError, match="must be a day"):
        loaded(folder, OBSERVING.replace("2026-12-15", odd))


def test_observing_ends_by_itself_and_is_not_for_long(folder: Path) -> None:
    config = loaded(folder, OBSERVING)
    stream = config.controllers["acme"].streams["news"]
    end = datetime(2026, 12, 15, tzinfo=UTC)
    assert stream.observe_until == end
    assert loaded(folder, OBSERVING.replace("2026-12-15", '"2026-12-15"')).controllers == config.controllers
    assert [stream.mode_at(at) for at in (NOW, end - timedelta(microseconds=1), end)] == [
        "observe", "observe", "enforce",
    ]  # fmt: skip
    assert serve_problems(config, NOW) == ()
    assert "mail without a legal ground leaves" in serve_warnings(config, NOW)[0].what
    assert serve_problems(config, end) == () and "enforces now" in serve_warnings(config, end)[0].what
    early = end - timedelta(days=31)  # as seen from then, the end is too far off: refused, and not observed either
    assert [p.key for p in serve_problems(config, early)] == ["controllers.acme.streams.news.observe_until"]
    assert stream.mode_at(early) == "enforce"


def test_a_stream_that_rehearses_is_warned_of(folder: Path) -> None:
    config = loaded(folder, GOOD.replace("ad_identifiable = true\n", 'mode = "rehearse"\nad_identifiable = true\n'))
    assert config.controllers["acme"].streams["news"].mode_at(NOW) == "rehearse"
    assert serve_problems(config, NOW) == ()
    [warning] = serve_warnings(config, NOW)
    assert warning.key == "controllers.acme.streams.news.mode" and "no mail of this stream leaves" in warning.what
    assert serve_warnings(loaded(folder, GOOD), NOW) == ()


def test_the_example_of_all_settings_is_toml_and_names_each() -> None:
    text = table.example()
    tomllib.loads(text)
    document = tomllib.loads(re.sub(r"(?m)^#(?! )", "", text))
    for setting in table.SETTINGS:
        at: object = document
        for step in setting.name.split("."):
            at = at["NAME" if step == "*" else step.removesuffix("[]")]  # type: ignore[index]
            at = at[0] if step.endswith("[]") else at  # type: ignore[index]
        assert at is not None, setting.name


def test_lines_are_found_for_tables_dotted_keys_and_entries_of_lists() -> None:
    text = 'a = 1\n[b."c d"]\ne.f = 2 # x\n[[g.h]]\ni = 1\n[[g.h]]\ni = 2\n'
    found = lines_of(text)
    assert found == {"a": 1, "b.c d": 2, "b.c d.e.f": 3, "g.h.1": 4, "g.h.1.i": 5, "g.h.2": 6, "g.h.2.i": 7}
