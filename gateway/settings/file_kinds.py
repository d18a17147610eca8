"""Kinds of setting values that name a file or a folder; and secrets, which only their owner may read."""

import base64
import binascii
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.settings.kinds import TEXT, Bad, Kind


def _path(value: Any, directory: Path) -> Path:
    text: str = TEXT.parse(value, directory)
    if not text:
        raise Bad("is empty", "Name a file; a relative path counts from this file")
    return directory / text


def _file(value: Any, directory: Path) -> Path:
    path = _path(value, directory)
    if not path.is_file():
        raise Bad(f"there is no file {path}", "Correct the path; a relative one counts from this file")
    return path


def _private_file(value: Any, directory: Path) -> Path:
    path = _file(value, directory)
    check_private(path)
    return path


def _folder(value: Any, directory: Path) -> Path:
    path = _path(value, directory)
    if not path.is_dir():
        raise Bad(f"there is no folder {path}", "Make it, or correct the path; a relative one counts from this file")
    return path


def check_private(path: Path) -> None:
    """Refuse a secret's file that others than its owner may read or write, or that we cannot read."""
    try:
        mode = path.stat().st_mode
        path.open("rb").close()
    except OSError as error:
        raise Bad(f"{path} cannot be read: {error.strerror}", "Give it to the user the gateway runs as") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Bad(f"{path} is open to others (mode {stat.S_IMODE(mode):04o})", f"Run: chmod 600 {path}")


def read_secret(path: Path) -> str:
    """Return the first line of a secret's file; Bad when it is missing, empty, unreadable or open to others."""
    if not path.is_file():
        raise Bad(f"there is no file {path}", "Correct the path; a relative one counts from this file")
    check_private(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Bad(f"{path} cannot be read as text", "Put the secret on its first line") from None
    if not lines or not lines[0].strip():
        raise Bad(f"{path} is empty", "Put the secret on its first line")
    return lines[0].strip()


def read_installation_keys(path: Path) -> Mapping[int, bytes]:
    """Read the installation key file: lines `ID BASE64`, 32 bytes each; blank lines and `#` comments are passed over.

    The highest id is current, the others still open what was made with them. Raises Bad.
    """
    remedy = "Restore the file from your copy; one line is: ID BASE64, an id from 1 to 255 and 32 bytes"
    if not path.is_file():
        raise Bad(
            f"there is no file {path}", "Restore it from your copy, or make a new installation with: consentgate init"
        )
    check_private(path)
    keys: dict[int, bytes] = {}
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            key = base64.b64decode(words[1], validate=True) if len(words) == 2 and words[0].isdecimal() else b""
        except binascii.Error:
            key = b""
        if len(key) != 32 or not 0 < int(words[0]) < 256 or int(words[0]) in keys:
            raise Bad(f"line {number} of {path} is not a key", remedy)
        keys[int(words[0])] = key
    if not keys:
        raise Bad(f"{path} holds no key", remedy)
    return keys


PATH: Final = Kind("file", _path)
FILE: Final = Kind("file", _file)
PRIVATE_FILE: Final = Kind("file (0600)", _private_file)
FOLDER: Final = Kind("folder", _folder)
