"""Moves an installation from files to PostgreSQL: `consentgate migrate --from sqlite --to postgresql`."""

from dataclasses import replace
from pathlib import Path

from gateway.cli import command
from gateway.cli.installation import databases_from
from gateway.cli.ledger import verified
from gateway.cli.refusal import Misused, Refused
from gateway.config import Config, Database
from gateway.settings.database_kinds import DATABASE, KEYS
from gateway.settings.edit import Uneditable, with_text
from gateway.settings.load import ConfigError
from gateway.settings.written import written


def move(path: Path, source: str | None, target: str | None, database: str | None, keys: str | None) -> None:
    """Move what is in files; verify; then say so in the settings. Running it again goes on where it was cut short."""
    from gateway import app as composition
    from gateway.store.moving import NotMoved

    if (source, target) == ("postgresql", "sqlite"):
        raise Refused(
            "From PostgreSQL nothing is moved back into files: several nodes may write there. The files that a move "
            "left behind are the installation as it was then; what came later is on the server alone."
        )
    if (source, target) != ("sqlite", "postgresql"):
        raise Misused("This command moves one way: --from sqlite --to postgresql --database URL --keys-database URL.")
    loaded = command.configuration(path)
    data_url, keys_url = _wanted(loaded, database, keys)
    data, own = DATABASE.parse(data_url, loaded.dir), KEYS.parse(keys_url, loaded.dir)
    with command.counting_bar("rows") as shown:
        try:
            moved = composition.move_store(loaded, data, own, shown or (lambda *_: None))
        except (NotMoved, OSError) as failed:
            raise Refused(f"Not moved: {failed}. The files and the settings are as they were.") from None
    for one in moved:
        mended = f", {one.mended} of them with a NUL in a text, which is replaced" if one.mended else ""
        if one.rows:
            command.say(f"{one.table}: {one.rows} rows, each read back{mended}")
    if not verified(replace(loaded, database=data, keys=own)):
        raise Refused(
            "Everything is on the server as it was in the files, and the ledger has findings, so the settings are as "
            "they were. Look at the files: consentgate ledger verify. To go on all the same, set database.url and "
            "keys.database yourself."
        )
    _say_so(loaded, data_url, keys_url)
    command.say(f"Moved to {data.name}, the keys to {own.name}. The files stay in {loaded.data_folder}: put them away.")


def _wanted(loaded: Config, database: str | None, keys: str | None) -> tuple[str, str]:
    """Both places as the settings are to have them; Refused or Misused where they are not places to move to."""
    if loaded.database.file is None and database is None:
        database = loaded.database.url
    if database is None or keys is None:
        raise Misused("Name both: --database URL and --keys-database URL (or the file the keys are in, to leave them).")
    data_url, keys_url = databases_from(database, keys)
    data: Database = DATABASE.parse(data_url, loaded.dir)
    own: Database = KEYS.parse(keys_url, loaded.dir)
    if data.file is not None:
        raise Refused("--database: is a file. Write it as postgresql://USER@HOST/NAME.")
    if own.file is not None and own.file != loaded.keys.file:
        raise Refused(
            f"--keys-database: the keys are in {loaded.keys.name}. Name that file, or a database on a server."
        )
    if own.name == data.name:
        raise Refused("--keys-database: is the database of everything else. Give the keys one of their own.")
    if loaded.database.file is None and data.name != loaded.database.name:
        raise Refused(f"The data is on {loaded.database.name} already, and is not moved from there.")
    if loaded.keys.file is None and own.name != loaded.keys.name:
        raise Refused(f"The keys are on {loaded.keys.name} already, and are not moved from there.")
    return data_url, keys_url


def _say_so(loaded: Config, data_url: str, keys_url: str) -> None:
    """Put the new places into the settings; Refused says what to write where the file cannot be changed."""
    text = loaded.path.read_text("utf-8")
    try:
        if loaded.database.file is not None:
            text = with_text(text, "database", "url", data_url)
        if loaded.keys.file is not None and KEYS.parse(keys_url, loaded.dir).file is None:
            text = with_text(text, "keys", "database", keys_url)
        written(loaded.path, text)
    except (Uneditable, ConfigError, OSError) as hard:
        raise Refused(
            f"Everything is moved, but {loaded.path} cannot be changed ({hard}). Set database.url and keys.database "
            "there to the URLs you gave."
        ) from None
