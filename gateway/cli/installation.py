"""Makes a new installation: settings, keys, certificate, signing keys, database, first staff.

All of it is made in a folder aside and moved into place at the end, the settings file last; a failure leaves nothing.
An existing installation is never touched.
"""

import base64
import contextlib
import ipaddress
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

from gateway import password
from gateway.cli.command import private
from gateway.cli.refusal import Refused
from gateway.config import Address, Config
from gateway.mail import dkim
from gateway.settings.database_kinds import DATABASE, KEYS
from gateway.settings.kinds import REMOTE, Bad, Kind, is_loopback
from gateway.settings.load import ConfigError, load
from gateway.store.staff import Staff

SETTINGS_FILE: Final = "consentgate.toml"
SELECTOR: Final = "cg1"
SELECTORS: Final[Mapping[str, dkim.Algorithm]] = {SELECTOR: "rsa-sha256", "cg1e": "ed25519-sha256"}
"""The keys of a new installation: mail is signed with both (RFC 8463 section 4 wants two selectors)."""
EXAMPLE_DOMAINS: Final = ("acme.example", "example.com", "example.org", "example.dom")
EXAMPLE_LOGINS: Final = ("newsletter", "events", "orders")
EXAMPLE_STAFF: Final = {"marketer": ("marketer",), "privacy": ("privacy",), "operator": ("operator", "administrator")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What `init` was asked for. `smarthost` None: a capture route, from which nothing leaves. `database`, `keys`: as
    they go into the settings."""

    directory: Path
    example: bool
    smtp_port: int
    http_port: int
    return_port: int
    smarthost: Address | None
    database: str
    keys: str


@dataclass(slots=True)
class Made:
    """What was made, for the closing words. `passwords` by name."""

    passwords: dict[str, str] = field(default_factory=dict)
    staff: list[Staff] = field(default_factory=list)


def smarthost_from(text: str | None) -> Address | None:
    """The value of --smarthost; Refused when it is no HOST:PORT."""
    return None if text is None else _checked(REMOTE, "--smarthost", text)


def databases_from(database: str, keys: str | None) -> tuple[str, str]:
    """The values of --database and --keys-database, as they go into the settings; Refused when one is of no known kind.

    Without --keys-database the keys are in a file. Files that a URL names count from where we are.
    """
    given = {"--database": (DATABASE, database), "--keys-database": (KEYS, "keys.db" if keys is None else keys)}
    read = {option: _checked(kind, option, value) for option, (kind, value) in given.items()}
    texts = [
        value if read[option].file is not None else _checked(kind, option, value, Path.cwd()).url
        for option, (kind, value) in given.items()
    ]
    return texts[0], texts[1]


def _checked(kind: Kind, option: str, value: object, directory: Path = Path()) -> Any:
    try:
        return kind.parse(value, directory)
    except Bad as bad:
        raise Refused(f"{option}: {bad.what}. {bad.remedy}.") from None


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A folder beside the final place, whose content is moved into `directory` when the block ends well.

    Refused when something of that name is there already; what was there before is never touched.
    """
    if (directory / SETTINGS_FILE).exists():
        raise Refused(f"{directory / SETTINGS_FILE} is there already; it is left as it is. Choose another folder.")
    try:
        existed = directory.is_dir()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".init-", dir=directory))
    except OSError as error:
        raise Refused(f"{directory} cannot be used: {error.strerror}. Choose a folder you may write to.") from None
    try:
        yield stage
        check_free(stage, directory)
        for path in sorted(stage.iterdir(), key=lambda path: path.name == SETTINGS_FILE):
            path.rename(directory / path.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not existed and directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def check_free(stage: Path, directory: Path) -> None:
    """Refused where something of what was made is in the final place already."""
    if taken := [path.name for path in sorted(stage.iterdir()) if (directory / path.name).exists()]:
        raise Refused(f"{directory} holds {', '.join(taken)} already. Move it away or choose another folder.")


def write(wanted: Wanted, stage: Path, now: datetime) -> Made:
    """Write settings, keys and passwords into the folder `stage`."""
    made = Made()
    for name in ("keys", "keys/dkim", "dkim", *(["tls"] if wanted.example else [])):
        (stage / name).mkdir(mode=0o755 if name == "dkim" else 0o700)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    private(stage / "keys/installation.key", f"1 {key}\n".encode())
    domains = EXAMPLE_DOMAINS if wanted.example else ("change.example",)
    logins = EXAMPLE_LOGINS if wanted.example else ("newsletter",)
    staff = EXAMPLE_STAFF if wanted.example else {"operator": ("operator", "administrator")}
    made.passwords = {name: password.made() for name in (*logins, *staff)}
    for name, roles in staff.items():
        hashed = password.hashed(made.passwords[name])
        made.staff.append(Staff(name=name, password_hash=hashed, roles=roles, controllers=()))
    if wanted.example:
        certificate, certificate_key = self_signed(now)
        public(stage / "tls/cert.pem", certificate)
        private(stage / "tls/key.pem", certificate_key)
    for domain in domains:
        for selector, algorithm in SELECTORS.items():
            pem = dkim.generate(algorithm)
            record = dkim.public_record(dkim.load_signer(domain, selector, pem))
            private(stage / f"keys/dkim/{domain}.{selector}.pem", pem)
            name = f"{domain}.txt" if selector == SELECTOR else f"{domain}.{selector}.txt"
            public(stage / "dkim" / name, dkim.bind_txt(domain, selector, record).encode("ascii"))
    lines = [f"{name} {text}\n" for name, text in made.passwords.items()]
    private(stage / "passwords.txt", "".join(lines).encode())
    hashes = {f"{name}_hash": password.hashed(made.passwords[name]) for name in logins}
    text = settings_text(wanted, domains, hashes)
    private(stage / SETTINGS_FILE, text.encode())
    return made


def public(path: Path, content: bytes) -> None:
    """Write a file that everybody may read and its owner alone may change, whatever the umask."""
    path.write_bytes(content)
    path.chmod(0o644)


def settings_text(wanted: Wanted, domains: tuple[str, ...], hashes: Mapping[str, str]) -> str:
    """The settings file, filled in."""
    template = files("gateway.cli").joinpath("example.toml" if wanted.example else "minimal.toml").read_text("utf-8")
    section = '[[controllers.{}.dkim]]\ndomain = "{}"\nselector = "{}"\nkey = "keys/dkim/{}.{}.pem"\n'
    controller = "acme" if wanted.example else "sender"
    return Template(template).substitute(
        public_url=f"http://127.0.0.1:{wanted.http_port}",
        database=json.dumps(wanted.database),
        keys=json.dumps(wanted.keys),
        smtp_port=wanted.smtp_port,
        http_port=wanted.http_port,
        return_port=wanted.return_port,
        route=route_text(wanted.smarthost),
        dkim="\n".join(
            section.format(controller, domain, name, domain, name) for domain in domains for name in SELECTORS
        ),
        first_domain=domains[0],
        **hashes,
    )


def route_text(smarthost: Address | None) -> str:
    """The route `main`: the given smarthost, or capture."""
    if smarthost is None:
        lines = [
            "# How copies leave. Capture keeps them and shows them on the web page; nothing leaves.",
            "[routes.main]",
            'kind = "capture"',
        ]
    else:
        host, port = smarthost
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [
            "# How copies leave: the next server, and how it is spoken to.",
            "[routes.main]",
            'kind = "smarthost"',
            f'hosts = ["{shown}"]',
            f'tls = "{"opportunistic" if is_loopback(host) else "verify"}"',
        ]
    return "\n".join(lines)


def loaded(stage: Path) -> Config:
    """Load what was written, as `serve` would; Refused shows what an option made wrong."""
    try:
        return load(stage / SETTINGS_FILE)
    except ConfigError as error:
        raise Refused(str(error)) from None


def self_signed(now: datetime) -> tuple[bytes, bytes]:
    """A certificate for localhost and its key, as PEM; for trying out only, so valid for ten years."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    addresses = [x509.IPAddress(ipaddress.ip_address(host)) for host in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    return certificate.public_bytes(pem), key.private_bytes(pem, form, serialization.NoEncryption())
