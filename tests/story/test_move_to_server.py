"""`migrate --from sqlite --to postgresql`: a whole installation, row for row; what was waiting leaves from there."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway import app
from gateway.settings.database_kinds import DATABASE
from gateway.store import moving
from gateway.store.postgres_thread import connect
from tests.installation import ANNA, KLEED, WIM, Gateway, Installation, consentgate, lines_of, newsletter
from tests.postgres import Pair, Server
from tests.story.relay import Relay, config_of, fresh, load_people, one_click_url, relaying
from tests.story.upstream import Gate


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with the four people on file."""
    new = fresh(made, tmp_path / "installation")
    load_people(new)
    return new


def move(installation: Installation, data: str, keys: str) -> tuple[int, str]:
    done = installation.tool(
        "migrate", "--from", "sqlite", "--to", "postgresql", "--database", data, "--keys-database", keys
    )  # fmt: skip
    return done.returncode, done.stderr.decode()


def content(installation: Installation) -> list[str]:
    """What the files say that are moved from."""
    said = []
    for name in ("consentgate.db", "keys.db"):
        with contextlib.closing(sqlite3.connect(installation.dir / name)) as db:
            said += list(db.iterdump())
    return said


def test_a_filled_installation_goes_on_from_the_server(
    installation: Installation, postgresql: Server, empty_pair: Pair
) -> None:
    gate = Gate(is_open=True)
    with relaying(installation, {".": gate}, connections=1) as relay:
        link = one_click_url(relay.passes(ANNA, newsletter("een")))
        relay.drained()
        assert relay.one_click(link).status_code == 200
        gate.close()
        relay.taken([WIM, KLEED], newsletter("wacht"))
        relay.gateway.eventually(lambda: gate.waiting == 1)
        code, said = move(installation, *empty_pair)
        assert code == 1 and "another gateway is serving" in said
        relay.gateway.kill()  # with a copy in hand
        before, settings = content(installation), installation.config.read_text()
        code, said = move(installation, *empty_pair)
        assert code == 0, said
        assert "copies: 3 rows, each read back" in said
        assert content(installation) == before
        assert installation.config.read_text() == settings.replace(
            "sqlite:consentgate.db", empty_pair.data
        ).replace('database = "keys.db"', f'database = "{empty_pair.keys}"')  # fmt: skip
        installation.server, installation.pair = postgresql, empty_pair
        gate.open()
        relay.gateway.start()
        relay.upstream.until(lambda: len(relay.upstream.to(WIM)) >= 1)
        relay.drained()
        _is_all_there(relay)


def _is_all_there(relay: Relay) -> None:
    installation = relay.installation
    assert relay.kept_out(ANNA, newsletter("na de verhuizing")) == "SUPPRESSED_PURPOSE"
    assert {row["reason_code"] for row in installation.report()} >= {"PRODUCT_NOT_SIMILAR", "SUPPRESSED_PURPOSE"}
    assert installation.tool("ledger", "verify").returncode == 0
    assert installation.tool("ledger", "rebuild", "--check").returncode == 0
    assert {row["name"] for row in lines_of(installation.tool("user", "list", "--json"))} >= {"marketer", "operator"}


class CutShort(Exception):
    """As if the machine had stopped."""


def test_a_move_that_was_cut_short_is_run_again(installation: Installation, empty_pair: Pair) -> None:
    config = config_of(installation)

    def told(table: str, _done: int, _total: int) -> None:
        if table == "ledger":
            raise CutShort

    with pytest.raises(CutShort):
        app.move_store(config, *(DATABASE.parse(url, installation.dir) for url in empty_pair), told)
    assert installation.config.read_text().count("sqlite:") == 1
    code, said = move(installation, *empty_pair)
    assert code == 0, said
    assert "ledger: " in said
    code, said = move(installation, *empty_pair)
    assert (code, "Moved to" in said) == (0, True), "a second time there is nothing left to do"


def test_a_server_that_has_little_patience_with_those_who_read_a_file_for_long(
    installation: Installation, postgresql: Server, empty_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connected(dsn: str, **more: Any) -> Any:
        db = await connect(dsn, **more)
        await db.execute("SET idle_in_transaction_session_timeout = 50")
        return db

    def told(table: str, _done: int, _total: int) -> None:
        if table == "indexes":
            postgresql.ask("SELECT pg_sleep(0.3)", database="postgres")  # in the midst of the transaction

    monkeypatch.setattr(moving, "connect", connected)
    config = config_of(installation)
    moved = app.move_store(config, *(DATABASE.parse(url, installation.dir) for url in empty_pair), told)
    assert {one.table for one in moved} >= {"ledger", "copies", "person_keys"}


def test_what_is_not_empty_is_never_touched(
    installation: Installation, postgresql: Server, empty_pair: Pair, tmp_path: Path
) -> None:
    done = consentgate(
        "init", tmp_path / "other", "--example", "--database", empty_pair.data, "--keys-database", empty_pair.keys
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    name = empty_pair.data.rpartition("/")[2]
    before = postgresql.ask("SELECT * FROM staff ORDER BY name", database=name)
    code, said = move(installation, *empty_pair)
    assert code == 1 and "give an empty database" in said
    assert postgresql.ask("SELECT * FROM staff ORDER BY name", database=name) == before
    pair = postgresql.new_pair()
    postgresql.ask("CREATE TABLE mine (a int)", database=pair.keys.rpartition("/")[2])
    code, said = move(installation, *pair)
    assert code == 1 and "give an empty database" in said
    postgresql.drop(pair)
    assert 'url = "sqlite:consentgate.db"' in installation.config.read_text()
    assert Gateway(installation).start().stop() == 0, "the files go on as they were"


def test_keys_may_follow_later(installation: Installation, empty_pair: Pair) -> None:
    code, said = move(installation, empty_pair.data, "keys.db")
    assert code == 0, said
    assert "is a file of this machine" in installation.tool("check-config").stderr.decode()
    code, said = move(installation, empty_pair.data, empty_pair.keys)
    assert code == 0, said
    assert installation.tool("check-config").stderr == b""
    assert installation.tool("ledger", "rebuild", "--check").returncode == 0


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--from", "postgresql", "--to", "sqlite"], 1, "nothing is moved back"),
        (["--from", "sqlite"], 2, "--from sqlite --to postgresql"),
        (["--from", "sqlite", "--to", "postgresql"], 2, "--keys-database"),
        (["--from", "sqlite", "--to", "postgresql", "--database", "x.db", "--keys-database", "k.db"], 1, "--database"),
        (
            ["--from", "sqlite", "--to", "postgresql", "--database", "postgresql://127.0.0.1:1/a", "--keys-database",
             "postgresql://127.0.0.1:1/a"], 1, "one of their own",
        ),
        (
            ["--from", "sqlite", "--to", "postgresql", "--database", "postgresql://127.0.0.1:1/a", "--keys-database",
             "postgresql://127.0.0.1:1/b"], 1, "no server answers",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_is_named(installation: Installation, options: list[str], code: int, named: str) -> None:
    done = installation.tool("migrate", *options)
    assert done.returncode == code
    assert named in done.stderr.decode()
