"""Where the databases are: files, servers, one of several hosts. What cannot be used is named, no password shown."""

from pathlib import Path

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args  # what the driver will make of a URL

from gateway.config import Database
from gateway.settings.load import ConfigError
from gateway.settings.readiness import serve_warnings
from tests.core.test_config import GOOD, NOW, folder, loaded

__all__ = ["folder"]
LOCAL = "postgresql://gate@127.0.0.1/mail"


def text(database: str = "", keys: str = "") -> str:
    return f"{GOOD}[database]\n{database}\n[keys]\n{keys}\n"


def driver_reads(place: Database) -> tuple[object, str, str | None, str]:
    """Hosts, user, password and database as asyncpg reads them."""
    addresses, parameters = _parse_connect_dsn_and_args(
        dsn=place.url, host=None, port=None, user=None, password=None, passfile=None, database=None, ssl=None,
        service=None, servicefile=None, direct_tls=None, server_settings=None, target_session_attrs=None,
        krbsrvname=None, gsslib=None,
    )  # fmt: skip
    return addresses, parameters.user, parameters.password, parameters.database


def test_files_are_the_default(folder: Path) -> None:
    config = loaded(folder, GOOD)
    assert config.database.file == folder / "consentgate.db"
    assert config.keys.file == folder / "keys.db"
    assert config.data_folder == folder
    assert not list(serve_warnings(config, NOW))


def test_a_server_with_several_hosts_and_a_password_apart(folder: Path) -> None:
    where = "postgresql://gate@10.0.0.1,db2.example:5433/mail?sslmode=require"
    config = loaded(folder, text(f'url = "{where}"\npassword_env = "PG"', f'database = "{LOCAL}-keys"'), PG="a:b/c@d %")
    assert driver_reads(config.database) == (
        [("10.0.0.1", 5432), ("db2.example", 5433)], "gate", "a:b/c@d %", "mail",
    )  # fmt: skip
    assert config.database.name == "postgresql://10.0.0.1:5432,db2.example:5433/mail"
    assert driver_reads(config.keys) == ([("127.0.0.1", 5432)], "gate", None, "mail-keys")
    assert "a:b" not in repr(config)
    assert "a%3Ab" not in repr(config)
    assert config.database.file is None
    assert config.data_folder == folder
    assert not list(serve_warnings(config, NOW))


def test_a_url_may_come_from_a_file_with_its_password(folder: Path) -> None:
    (folder / "secret").write_text("postgresql://gate:geheim@[::1]:5433/mail\n")
    config = loaded(folder, text('url_file = "secret"'))
    assert driver_reads(config.database) == ([("::1", 5433)], "gate", "geheim", "mail")
    assert "geheim" not in repr(config)
    assert config.database.name == "postgresql://::1:5433/mail"


def test_files_a_url_names_count_from_the_settings(folder: Path) -> None:
    config = loaded(folder, text(f'url = "{LOCAL}?sslmode=verify-full&sslrootcert=ca.pem"'))
    assert config.database.url == f"{LOCAL}?sslmode=verify-full&sslrootcert={folder}/ca.pem"


def test_a_socket_needs_no_tls(folder: Path) -> None:
    config = loaded(folder, text('url = "postgresql:///mail?host=/run/postgresql"'))
    assert driver_reads(config.database)[0] == ["/run/postgresql/.s.PGSQL.5432"]


def test_keys_in_a_file_beside_a_server_are_warned_of(folder: Path) -> None:
    [warning] = serve_warnings(loaded(folder, text(f'url = "{LOCAL}"')), NOW)
    assert warning.key == "keys.database"
    assert "no other node" in warning.what


WRONG = {
    "another kind": ('url = "mysql:x"', "", "database.url", "postgresql://"),
    "no database": ('url = "postgresql://gate@127.0.0.1/"', "", "database.url", "postgresql://user@host"),
    "no host": ('url = "postgresql://gate@/mail"', "", "database.url", "postgresql://user@host"),
    "a port that is none": ('url = "postgresql://127.0.0.1:x/mail"', "", "database.url", "postgresql://user@host"),
    "off loopback without TLS": ('url = "postgresql://gate@db.example/mail"', "", "database.url", "sslmode=verify"),
    "TLS only if it likes": (
        'url = "postgresql://db.example/mail?sslmode=prefer"', "", "database.url", "sslmode=verify"
    ),
    "one host of several far off": ('url = "postgresql://127.0.0.1,db/mail"', "", "database.url", "sslmode=verify"),
    "no such sslmode": (f'url = "{LOCAL}?sslmode=yes"', "", "database.url", "verify-full"),
    "less than a commit": (f'url = "{LOCAL}?synchronous_commit=off"', "", "database.url", "on disk"),
    "a standby": (f'url = "{LOCAL}?target_session_attrs=any"', "", "database.url", "primary"),
    "an @ in the password": ('url = "postgresql://gate:geh@im@127.0.0.1/mail"', "", "database.url", "%40"),
    "keys in the same database": (f'url = "{LOCAL}"', f'database = "{LOCAL}"', "keys.database", "of their own"),
    "keys in the same file": ("", 'database = "consentgate.db"', "keys.database", "database of their own"),
    "keys on a server, data not": ("", f'database = "{LOCAL}"', "keys.database", "keys.db"),
    "a password for a file": ('password = "geheim"', "", "database.password", "Remove"),
    "two passwords": (
        'url = "postgresql://gate:geheim@127.0.0.1/mail"\npassword = "x"', "", "database.password", "USER@HOST",
    ),
    "a password of nobody": (
        f'url = "{LOCAL}"', 'database = "postgresql://127.0.0.1/k"\npassword = "geheim"', "keys.password", "USER@HOST",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named_with_its_remedy(folder: Path, mistake: str) -> None:
    database, keys, key, remedy = WRONG[mistake]
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text(database, keys))
    [problem] = caught.value.problems
    assert problem.key == key
    assert remedy in problem.remedy
    assert "geh" not in str(caught.value)
