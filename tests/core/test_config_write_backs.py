"""Write-back in the settings: hosts, endpoints and tools become values, or are named with line and remedy."""

import base64
from pathlib import Path

import pytest

from gateway.addressees import companies, link_of, peers, targets, untold
from gateway.config import Config
from gateway.settings.load import ConfigError, load
from gateway.store.telling import EVERY, STOPS
from gateway.tools.reach import Peer
from tests.core.test_config import GOOD, KEY

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
HOSTS = 'write_back_hosts = ["Lists.example.com", "crm.example.com:8443", "10.1.2.3", "http://127.0.0.1:9000"]\n'
TOLD = f"""
[controllers.acme.webhooks.crm]
url = "https://crm.example.com:8443/hook"
secret = "{SECRET}"
[controllers.acme.tools.main]
kind = "listmonk"
url = "https://lists.example.com/"
username = "api"
password = "token"
lists = {{ newsletter = ["3", 4] }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/installation.key").write_text(f"1 {KEY}\n")
    (tmp_path / "keys/installation.key").chmod(0o600)
    return tmp_path


def loaded(folder: Path, more: str = TOLD, hosts: str = HOSTS, good: str = GOOD) -> Config:
    text = good.replace("[controllers.acme]\n", "[controllers.acme]\n" + hosts) + more
    file = folder / "consentgate.toml"
    file.write_text(text, "utf-8")
    return load(file, environ={"HOOK": SECRET})


def test_hosts_endpoints_and_tools_become_values(folder: Path) -> None:
    config = loaded(folder)
    acme = config.controllers["acme"]
    assert acme.write_back_hosts == (
        Peer(host="lists.example.com"), Peer(host="crm.example.com", port=8443), Peer(host="10.1.2.3"),
        Peer(host="127.0.0.1", port=9000, plain=True),
    )  # fmt: skip
    assert acme.webhooks["crm"].secrets == (b"s" * 32,)
    assert acme.tools["main"].lists == {"newsletter": ("3", "4")}
    hook, tool = targets(config)["acme"]
    assert (hook.name, hook.host, hook.events, hook.terse) == ("webhook/crm", "crm.example.com:8443", EVERY, False)
    assert (tool.name, tool.host, tool.events) == ("listmonk/main", "lists.example.com:443", STOPS)
    assert tool.purposes == {"newsletter"}


def test_who_runs_what_is_told_is_named_where_the_settings_say_so(folder: Path) -> None:
    assert companies(loaded(folder).controllers["acme"]) == {}
    more = TOLD.replace("[controllers.acme.tools.main]", 'company = "Klantbeheer B.V."\n[controllers.acme.tools.main]')
    named = companies(loaded(folder, more).controllers["acme"])
    assert named == {"crm.example.com:8443": "Klantbeheer B.V."}
    named = companies(loaded(folder, more + 'company = "Lists Ltd"\n').controllers["acme"])
    assert named == {"crm.example.com:8443": "Klantbeheer B.V.", "lists.example.com:443": "Lists Ltd"}


def test_secrets_are_shown_by_nothing(folder: Path) -> None:
    shown = repr(loaded(folder).controllers["acme"])
    assert "token" not in shown and "ssss" not in shown


def test_a_secret_may_come_from_a_file_or_the_environment(folder: Path) -> None:
    (folder / "hook.secret").write_text(SECRET + "\n")
    (folder / "hook.secret").chmod(0o600)
    more = TOLD.replace(f'secret = "{SECRET}"', 'secret_file = "hook.secret"\nold_secret_env = "HOOK"')
    assert loaded(folder, more).controllers["acme"].webhooks["crm"].secrets == (b"s" * 32, b"s" * 32)
    (folder / "hook.secret").chmod(0o644)
    with pytest.raises(ConfigError, match=r"open to others \(mode 0644\). Run: chmod 600"):
        loaded(folder, more)


MISTAKES = {
    "no such port": (HOSTS.replace("8443", "70000"), TOLD, "port from 1 to 65535"),
    "a URL for a host": (HOSTS.replace("Lists.example.com", "https://lists.example.com"), TOLD, "Write a name without"),
    "plain elsewhere": (HOSTS.replace("127.0.0.1:9000", "10.0.0.1:9000"), TOLD, "use https"),
    "half an address": (HOSTS.replace("10.1.2.3", "10.1"), TOLD, "is not an address"),
    "host not listed": (HOSTS, TOLD.replace("lists.example.com/", "other.example.com/"), "Add its host to"),
    "port not listed": (HOSTS, TOLD.replace(":8443/hook", ":8444/hook"), "may not be called"),
    "without TLS": (HOSTS, TOLD.replace("https://lists", "http://lists"), "not https"),
    "secret too short": (HOSTS, TOLD.replace(SECRET, "whsec_c2hvcnQ="), "not 24 to 64"),
    "secret is none": (HOSTS, TOLD.replace(SECRET, "geheim"), "does not begin with whsec_"),
    "no secret": (HOSTS, TOLD.replace(f'secret = "{SECRET}"\n', ""), r"webhooks.crm.secret: is missing"),
    "no such purpose": (HOSTS, TOLD.replace("newsletter = ", "events = "), "there is no purpose 'events'"),
    "list is no number": (HOSTS, TOLD.replace('"3"', '"wine"'), "Use the numbers listmonk shows"),
    "star beside ids": (HOSTS, TOLD.replace('"3", 4', '"*", "4"'), "the whole tool"),
    "no user": (HOSTS, TOLD.replace('username = "api"\n', ""), "tools.main.username: is missing"),
    "mailchimp's address": (HOSTS, TOLD.replace('"listmonk"', '"mailchimp"'), "is not the address of the API"),
    "advertiser nobody carries": (HOSTS, TOLD.replace(SECRET + '"', SECRET + '"\nadvertiser = "vinea"'), "no stream"),
    "no such stream": (HOSTS, TOLD.replace(SECRET + '"', SECRET + '"\nstreams = ["x"]'), "there is no stream 'x'"),
    "authority": (HOSTS, TOLD + '[write_back]\nauthorities = "consentgate.toml"\n', "holds no certificates"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named_with_its_line_and_remedy(folder: Path, mistake: str) -> None:
    hosts, more, said = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=said) as refused:
        loaded(folder, more, hosts)
    assert all(problem.line and problem.remedy for problem in refused.value.problems)
    assert SECRET not in str(refused.value)


def test_an_advertiser_who_is_told_of_nothing_is_found(folder: Path) -> None:
    good = GOOD.replace(
        'purpose = "newsletter"\n', 'purpose = "newsletter"\nadvertiser.id = "vinea"\nadvertiser.legal_name = "V"\n'
    )
    assert list(untold(loaded(folder, good=good))) == [("acme", "news", "vinea")]
    more = TOLD.replace(SECRET + '"', SECRET + '"\nadvertiser = "vinea"')
    config = loaded(folder, more, good=good)
    assert list(untold(config)) == []
    hook = targets(config)["acme"][0]
    assert (hook.streams, hook.terse) == ({"news"}, True)
    assert companies(config.controllers["acme"]) == {"crm.example.com:8443": "V"}


def test_a_stream_may_list_hosts_of_its_own_for_the_addresses_in_its_mail(folder: Path) -> None:
    good = GOOD.replace('categories = ["wine"]\n', 'categories = ["wine"]\nwrite_back_hosts = ["tool.example"]\n')
    acme = loaded(folder, good=good).controllers["acme"]
    assert Peer(host="tool.example") in peers(acme, acme.streams["news"])
    assert Peer(host="tool.example") not in peers(acme, acme.streams["orders"])
    assert link_of(None, "newsletter", acme, acme.streams["news"]) is None
