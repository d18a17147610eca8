"""Puts a new text in the place of a settings file: only one that can be read, and at one instant."""

import os
from pathlib import Path

from gateway.config import Config
from gateway.settings.load import load


def written(path: Path, text: str) -> Config:
    """The settings of the new text, which the file has from now on. ConfigError or OSError: nothing was changed."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(path.stat().st_mode & 0o777)
        load(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return load(path)
