"""`consentgate init`: what each flag makes, and that an installation is never touched or left half made."""

import ipaddress
import os
import re
import smtplib
import stat
import tomllib
from pathlib import Path

import argon2
import dkim
import pytest
from cryptography import x509

from gateway.config import Smarthost
from gateway.mail.dkim import load_signer, sign
from gateway.settings.load import load
from tests.installation import Gateway, consentgate, lines_of

DOMAINS = ("acme.example", "example.com", "example.org", "example.dom")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_example_is_the_contract_of_the_checks(made: Path) -> None:
    config = load(made / "consentgate.toml")
    acme = config.controllers["acme"]
    assert config.public_url == "http://127.0.0.1:20002"
    assert config.listen.submission == (("127.0.0.1", 20001),)
    assert (config.listen.web, config.listen.return_path) == (("127.0.0.1", 20002), ("127.0.0.1", 20003))
    assert config.routes["main"].kind == "capture"
    assert (acme.legal_name, acme.country, acme.default_country) == ("Acme Wijnen B.V.", "NL", "NL")
    assert all((acme.postal_address, acme.opt_out_contact, acme.notice_url, acme.notice_version))
    assert acme.default_country_motivation
    assert acme.domains == DOMAINS
    assert acme.return_domain == "bounce.acme.example"
    assert set(acme.categories) == {"wine", "spirits", "clothing"}
    assert acme.categories["wine"].similar_to == ("spirits",)
    assert acme.categories["wine"].motivation
    news, events, orders = (acme.streams[name] for name in ("newsletter", "events", "orders"))
    assert (news.message_class, news.purpose, news.categories) == ("marketing", "newsletter", ("wine",))
    assert (events.message_class, events.purpose) == ("marketing", "events")
    assert (orders.message_class, orders.transaction_ref) == ("transactional", "stream")
    for stream in (news, events, orders):
        assert stream.from_domains == DOMAINS
        assert stream.ad_identifiable
        assert not stream.directed_at_children
        assert not stream.b2b_relevant
        assert {"ad_identifiable", "directed_at_children", "b2b_relevant"} <= set(stream.motivation)
    assert orders.motivation["transaction_ref"]
    assert {name: login.streams for name, login in config.logins.items()} == {
        name: (name,) for name in ("newsletter", "events", "orders")
    }


def test_secrets_are_for_their_owner_only(made: Path) -> None:
    for name in ("passwords.txt", "keys/installation.key", "keys.db", "consentgate.db", "tls/key.pem"):
        assert mode(made / name) == 0o600, name
    assert {mode(key) for key in (made / "keys/dkim").iterdir()} == {0o600}
    assert mode(made / "keys") == 0o700


def test_what_is_published_may_be_changed_by_its_owner_only(tmp_path: Path) -> None:
    """Also in a folder that was there, under a umask that gives everything away."""
    before = os.umask(0)
    try:
        assert consentgate("init", tmp_path, "--example").returncode == 0
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {mode(path) for path in files} == {0o600, 0o644}
    assert {path.parent.name for path in files if mode(path) == 0o644} == {"dkim", "tls"}
    assert all(mode(path) & 0o022 == 0 for path in tmp_path.rglob("*"))


def test_passwords_open_logins_and_staff_accounts(made: Path) -> None:
    words = dict(line.split(" ", 1) for line in (made / "passwords.txt").read_text().splitlines())
    assert set(words) == {"newsletter", "events", "orders", "marketer", "privacy", "operator"}
    assert len(set(words.values())) == 6
    config = load(made / "consentgate.toml")
    for name, login in config.logins.items():
        assert argon2.PasswordHasher().verify(login.password_hash or "", words[name])
    staff = lines_of(consentgate("user", "list", "--json", "--config", made / "consentgate.toml"))
    roles = {row["name"]: row["roles"] for row in staff}
    assert roles["marketer"] == ["marketer"]
    assert roles["privacy"] == ["privacy"]
    assert "operator" in roles["operator"]


def test_the_certificate_is_for_localhost_by_name_and_address(made: Path) -> None:
    certificate = x509.load_pem_x509_certificate((made / "tls/cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(a) for a in ("127.0.0.1", "::1")]
    certificate.verify_directly_issued_by(certificate)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(("selector", "algorithm"), [("cg1", b"rsa-sha256"), ("cg1e", b"ed25519-sha256")])
def test_each_key_has_one_public_record_that_fits_it(made: Path, domain: str, selector: str, algorithm: bytes) -> None:
    files = {"cg1": f"{domain}.txt", "cg1e": f"{domain}.cg1e.txt"}
    text = (made / "dkim" / files[selector]).read_text()
    assert text.startswith(f"{selector}._domainkey.{domain}. IN TXT (")
    assert text.count("IN TXT") == 1
    assert ";" not in re.sub(r'"[^"]*"', "", text), "a comment in the zone text"
    assert {file.name for file in (made / "dkim").glob(f"{domain}*")} == set(files.values())
    record = "".join(re.findall(r'"([^"]*)"', text)).encode()
    message = f"From: news@{domain}\r\nSubject: x\r\n\r\nbody\r\n".encode()
    signer = load_signer(domain, selector, (made / f"keys/dkim/{domain}.{selector}.pem").read_bytes())
    head, body = message.split(b"\r\n\r\n")
    signature = sign(head + b"\r\n", body, [signer], at=None)
    assert b"a=" + algorithm in signature
    assert dkim.verify(signature + message, dnsfunc=lambda name, timeout=5: record)


def test_smarthost_and_database_options_are_taken(tmp_path: Path) -> None:
    done = consentgate(
        "init", tmp_path / "a", "--example", "--smarthost", "127.0.0.1:2600", "--database", "sqlite:data.db"
    )
    assert done.returncode == 0, done.stderr.decode()
    config = load(tmp_path / "a/consentgate.toml")
    route = config.routes["main"]
    assert (route.kind, route.hosts, route.tls) == (
        "smarthost", (Smarthost(host="127.0.0.1", port=2600),), "opportunistic"
    )  # fmt: skip
    assert config.database.file == tmp_path / "a/data.db"
    assert config.database.file.is_file()
    assert (config.listen.web, config.listen.submission) == (("127.0.0.1", 8080), (("127.0.0.1", 2525),))


def test_a_smarthost_elsewhere_has_to_prove_who_it_is_and_a_login_can_be_added(tmp_path: Path) -> None:
    done = consentgate("init", tmp_path / "a", "--smarthost", "relay.acme.example:587")
    assert done.returncode == 0, done.stderr.decode()
    file = tmp_path / "a/consentgate.toml"
    assert load(file).routes["main"].tls == "verify"
    file.write_text(file.read_text().replace('tls = "verify"', 'tls = "verify"\nusername = "a"\npassword = "b"'))
    (host,) = load(file).routes["main"].hosts
    assert (host.username, host.password) == ("a", "b")


def test_without_example_it_makes_a_sound_start_to_fill_in(tmp_path: Path) -> None:
    done = consentgate("init", tmp_path / "a")
    assert done.returncode == 0, done.stderr.decode()
    config = load(tmp_path / "a/consentgate.toml")
    assert list(config.controllers) == ["sender"]
    assert "CHANGE" in config.path.read_text()
    assert "fill in what says CHANGE" in done.stderr.decode()


def test_what_was_not_filled_in_is_not_served(tmp_path: Path) -> None:
    consentgate("init", tmp_path / "a")
    file = tmp_path / "a/consentgate.toml"
    for command in ("check-config", "serve", "doctor"):
        done = consentgate(command, "--config", file)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 1
        for key in ("legal_name", "postal_address", "opt_out_contact", "domains", "streams.newsletter.motivation."):
            assert f"controllers.sender.{key}" in said, (command, said)
    text = file.read_text("utf-8").replace("change.example", "mine.example").replace("CHANGE@", "stop@")
    file.write_text(text.replace("CHANGE: ", "The "), "utf-8")
    for key in (tmp_path / "a/keys/dkim").iterdir():
        key.rename(key.with_name(key.name.replace("change", "mine")))
    assert consentgate("check-config", "--config", file).returncode == 0


def test_a_folder_that_is_there_is_used_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/notes").write_text("mine")
    assert consentgate("init", tmp_path / "a", "--example").returncode == 0
    assert (tmp_path / "a/notes").read_text() == "mine"
    assert not list((tmp_path / "a").glob(".init-*"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("there", ["consentgate.toml", "keys/installation.key", "passwords.txt"])
def test_what_is_there_already_is_left_alone(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    before = snapshot(tmp_path)
    done = consentgate("init", tmp_path, "--example")
    assert done.returncode == 1
    assert there.split("/")[0].encode() in done.stderr
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--smarthost", "nowhere"], 1),
        (["--database", "mysql:x"], 1),
        (["--smtp-port", "70000"], 2),
        (["--smtp-port", "8080"], 1),
        (["--colour"], 2),
    ],
)
def test_a_bad_option_leaves_nothing_behind(tmp_path: Path, options: list[str], code: int) -> None:
    done = consentgate("init", tmp_path / "a", "--example", *options)
    assert done.returncode == code
    assert done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "a").exists()


def test_example_values_stay_as_others_look_for_them(made: Path) -> None:
    """Checks from outside replace these texts; they stand in the file literally."""
    text = (made / "consentgate.toml").read_text()
    tomllib.loads(text)
    for line in (
        'default_country = "NL"', 'transaction_ref = "stream"', "ad_identifiable = true",
        "directed_at_children = false", "b2b_relevant = false", 'return_domain = "bounce.acme.example"',
    ):  # fmt: skip
        assert line in text, line


def test_a_new_installation_serves_and_takes_a_login(gateway: Gateway) -> None:
    with gateway.client("orders") as session:
        assert session.noop()[0] == 250
    with pytest.raises(smtplib.SMTPAuthenticationError):
        gateway.client("orders", name="events")
    assert gateway.stop() == 0
