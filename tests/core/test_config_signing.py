"""Settings about signing: who signs where nobody says, what keys may be, and a seed mailbox whose password is safe."""

from pathlib import Path

import pytest

from gateway.mail.dkim import generate
from gateway.settings.load import ConfigError
from tests.core.test_config import GOOD, folder, loaded

__all__ = ["folder"]
ROUTE = 'hosts = ["127.0.0.1:2600"]'
SES = 'hosts = ["email-smtp.eu-west-1.amazonaws.com:587"]'
KEY = '[[controllers.acme.dkim]]\ndomain = "acme.example"\nselector = "{}"\nkey = "k.pem"\n{}'
SEED = '[seed]\naddress = "seed@acme.example"\nimap = "{}"\n{}'


@pytest.mark.parametrize(
    ("route", "stream", "signing"),
    [
        (ROUTE, "", "own"),
        (SES, "", "upstream"),
        (f'{SES}\ndkim = "own"', "", "own"),
        (f'{ROUTE}\ndkim = "upstream"', "", "upstream"),
        (SES, 'dkim = "own"\n', "own"),
        (ROUTE, 'dkim = "upstream"\n', "upstream"),
        ('hosts = ["email-smtp.eu-west-1.amazonaws.com:587", "127.0.0.1:2600"]', "", "own"),
    ],
)
def test_the_stream_says_who_signs_else_the_route_else_its_hosts(
    folder: Path, route: str, stream: str, signing: str
) -> None:
    text = GOOD.replace(ROUTE, route).replace('class = "marketing"\n', f'class = "marketing"\n{stream}')
    config = loaded(folder, text)
    assert config.signing(config.controllers["acme"].streams["news"]) == signing


@pytest.mark.parametrize(
    ("more", "key", "said"),
    [
        (KEY.format("a", "") + KEY.format("a", ""), "controllers.acme.dkim.2.selector", "stands twice"),
        (KEY.format("a", 'state = "retired"\n'), "controllers.acme.dkim.1.retired_at", "is missing"),
        (KEY.format("a", "retired_at = 2026-12-15T10:00:00\n"), "controllers.acme.dkim.1.retired_at", "with a zone"),
        (KEY.format("a", 'state = "gone"\n'), "controllers.acme.dkim.1.state", "not possible"),
        (SEED.format("imap.acme.example:993", ""), "seed.password", "is missing"),
        (SEED.format("imap.acme.example:993", 'tls = "none"\npassword = "x"\n'), "seed.tls", "in clear"),
        ('[seed]\nimap = "127.0.0.1:143"\npassword = "x"\n', "seed.address", "is missing"),
        ("[dkim]\nverify_one_in = 0\n", "dkim.verify_one_in", "1 or more"),
        ('[routes.keep]\nkind = "capture"\ndkim = "upstream"\n', "routes.keep.dkim", "on a capture route"),
    ],
)
def test_what_would_leave_mail_unsigned_or_a_password_readable_is_named(
    folder: Path, more: str, key: str, said: str
) -> None:
    (folder / "k.pem").write_bytes(generate("ed25519-sha256"))
    (folder / "k.pem").chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        loaded(folder, f"{GOOD}\n{more}")
    assert [(one.key, said in one.what) for one in refused.value.problems] == [(key, True)]


def test_a_seed_mailbox_reads_its_password_from_the_environment_and_never_shows_it(folder: Path) -> None:
    more = SEED.format("imap.acme.example:993", 'password_env = "SEED"\n')
    seed = loaded(folder, f"{GOOD}\n{more}", SEED="geheim").seed
    assert seed is not None and (seed.password, seed.username, seed.folders) == (
        "geheim",
        "seed@acme.example",
        ("INBOX",),
    )
    assert "geheim" not in repr(seed)
