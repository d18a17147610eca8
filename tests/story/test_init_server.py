"""`init` and `doctor` on PostgreSQL: what is made, what is in the way, what a server says of itself."""

import json
from pathlib import Path

import pytest

from tests.installation import Make, consentgate
from tests.postgres import LOCKED, PASSWORD, Pair, Server, running


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_two_empty_databases_become_an_installation(empty_pair: Pair, tmp_path: Path) -> None:
    done = consentgate(
        "init", tmp_path / "a", "--example", "--database", empty_pair.data, "--keys-database", empty_pair.keys
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert not list((tmp_path / "a").glob("*.db"))
    assert (tmp_path / "a/consentgate.toml").stat().st_mode & 0o777 == 0o600
    settings = ["--config", tmp_path / "a/consentgate.toml"]
    assert consentgate("check-config", *settings).stderr == b""
    assert b"marketer" in consentgate("user", "list", *settings).stdout
    assert b"nothing to do" in consentgate("migrate", *settings).stderr


def test_keys_stay_in_a_file_where_nobody_says_otherwise(empty_pair: Pair, tmp_path: Path) -> None:
    done = consentgate("init", tmp_path / "a", "--example", "--database", empty_pair.data)
    assert done.returncode == 0, done.stderr.decode()
    assert b"enough for one machine" in done.stderr
    assert (tmp_path / "a/keys.db").is_file()
    settings = ["--config", tmp_path / "a/consentgate.toml"]
    assert b"keys.database: is a file" in consentgate("check-config", *settings).stderr
    assert b"operator" in consentgate("user", "list", *settings).stdout


def test_the_password_comes_from_a_file_and_is_shown_nowhere(
    postgresql: Server, empty_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, keys = (postgresql.url(name_of(url), user=LOCKED) for url in empty_pair)
    words = ["init", tmp_path / "a", "--example", "--database", data, "--keys-database", keys]
    refused = consentgate(*words)
    assert refused.returncode == 1
    assert b"the server refuses the password" in refused.stderr
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert consentgate(*words).returncode == 0
    monkeypatch.delenv("PGPASSWORD")
    settings = tmp_path / "a/consentgate.toml"
    (tmp_path / "a/secret").write_text(PASSWORD + "\n")
    (tmp_path / "a/secret").chmod(0o600)
    text = settings.read_text()
    for place in (f'url = "{data}"', f'database = "{keys}"'):
        text = text.replace(place, f'{place}\npassword_file = "secret"')
    settings.write_text(text)
    for command in (["check-config"], ["doctor", "--json"], ["user", "list"]):
        done = consentgate(*command, "--config", settings)
        assert b"refuses" not in done.stdout + done.stderr
        assert PASSWORD.encode() not in done.stdout + done.stderr
        assert b"a%20pass" not in done.stdout + done.stderr
    assert b"operator" in consentgate("user", "list", "--config", settings).stdout


def test_what_is_in_the_way_is_named_and_nothing_is_made(postgresql: Server, empty_pair: Pair, tmp_path: Path) -> None:
    postgresql.ask("CREATE TABLE mine (a int)", database=name_of(empty_pair.keys))
    postgresql.ask(f"REVOKE CREATE ON SCHEMA public FROM {LOCKED}; CREATE ROLE poor LOGIN", database="postgres")
    try:
        for data, keys, said in (
            (postgresql.url("nothing"), empty_pair.keys, "there is no such database"),
            ("postgresql://x@127.0.0.1:1/mail", empty_pair.keys, "no server answers there"),
            (postgresql.url(name_of(empty_pair.data), user="nobody"), empty_pair.keys, "lets this user not in"),
            (postgresql.url(name_of(empty_pair.data), user="poor"), empty_pair.keys, "may not create tables"),
            (empty_pair.data, empty_pair.keys, "is not empty"),
            (empty_pair.data, empty_pair.data, "database of their own"),
            ("postgresql://x@db.example/mail", empty_pair.keys, "without TLS"),
        ):
            done = consentgate("init", tmp_path / "a", "--example", "--database", data, "--keys-database", keys)
            assert done.returncode == 1
            assert said in done.stderr.decode()
            assert not (tmp_path / "a").exists()
    finally:
        postgresql.ask("DROP ROLE poor")
    assert not postgresql.ask("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", database=name_of(empty_pair.data))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="module")
def test_doctor_says_which_server_and_what_a_commit_waits_for(make: Make, tmp_path: Path) -> None:
    installation = make(tmp_path / "installation")
    done = installation.tool("doctor", "--json")
    found: dict[str, list[str]] = {}
    for row in map(dict, json_lines(done.stdout)):
        found.setdefault(str(row["check"]), []).append(str(row["text"]))
    assert installation.server is not None
    first, *more = found["database.url"]
    assert f"127.0.0.1:{installation.server.port}/" in first
    assert "the primary" in first
    assert "for no standby (synchronous_commit = on)" in first
    assert "fsync is off" in more[0]
    assert len(found["keys.database"]) == 2


def test_doctor_finds_a_standby_and_an_archive_of_keys(tmp_path: Path) -> None:
    with running(max_connections="12", archive_mode="on", archive_command="true") as primary:
        pair = primary.new_pair()
        done = consentgate(
            "init", tmp_path / "a", "--example", "--database", pair.data, "--keys-database", pair.keys
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        settings = tmp_path / "a/consentgate.toml"
        said = consentgate("doctor", "--config", settings).stdout.decode()
        assert "WAL is archived, which keeps keys" in said
        with primary.standby() as second:
            said = consentgate("doctor", "--config", settings).stdout.decode()
            assert 'for its disk and for "standby"' in said
            text = settings.read_text()
            settings.write_text(text.replace(pair.data, second.url(name_of(pair.data))))
            said = consentgate("doctor", "--config", settings).stdout.decode()
            assert "is on a standby, which takes no writes" in said


def json_lines(said: bytes) -> list[dict[str, object]]:
    """JSON lines, whatever the exit code was."""
    return [json.loads(line) for line in said.splitlines()]
