"""The parts of a file to import: itself, or the members of a ZIP, read as they are asked for.

A ZIP is never unpacked to disk, so no name in it can reach anywhere. What is larger than a list of people can be, or
packed tighter than text is, is refused before a byte of it is read; a member that is no list is refused too, since what
is passed over could be opt-outs.
"""

import contextlib
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from gateway.files.table import LINE_BYTES, Refusal, check_text

MEMBERS: Final = 200
"""Members of a ZIP at most."""
UNPACKED: Final = 4 << 30
"""Bytes of all members together at most."""
TIGHTEST: Final = 200
"""How many bytes of text one packed byte may stand for: lists of people stay under 30."""
SMALL: Final = 1 << 20
"""Members up to this size are not looked at for that: a few equal lines pack well."""
_ODD: Final = ("__macosx/", ".ds_store", "thumbs.db")
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Part:
    """One list. `name`: of the file or member, without folders; `alone`: the file is no ZIP. `size` in bytes."""

    name: str
    size: int
    alone: bool
    _file: Path
    _member: zipfile.ZipInfo | None = None

    @contextlib.contextmanager
    def raw(self) -> Iterator[BinaryIO]:
        """Its bytes, from the start. Refusal where they are not those that were promised."""
        with contextlib.ExitStack() as stack:
            try:
                if self._member is None:
                    yield stack.enter_context(self._file.open("rb"))
                    return
                archive = stack.enter_context(zipfile.ZipFile(self._file))
                yield stack.enter_context(archive.open(self._member))  # type: ignore[misc]
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as broken:
                raise Refusal(None, f"{self.name} cannot be unpacked: {broken}", "Export it anew, whole") from None
            except OSError as failed:
                raise Refusal(None, f"{self._file} cannot be read: {failed.strerror}", "Check its path") from None

    @contextlib.contextmanager
    def text(self) -> Iterator[io.TextIOWrapper]:
        """Its text, with the ends of its lines as they are."""
        with self.raw() as raw:
            yield decoded(raw)

    def check(self) -> None:
        """Refuse what is not UTF-8 text."""
        with self.raw() as raw:
            check_text(iter(partial(raw.readline, LINE_BYTES + 1), b""))

    def start(self) -> str:
        """The first line that is not empty; empty where there is none."""
        with self.text() as text:
            return next((line for line in text if line.strip()), "")


def parts(file: Path) -> list[Part]:
    """The lists in a file. Refusal where it cannot be read, or is an archive one should not trust."""
    try:
        with file.open("rb") as raw:
            if not raw.seekable():
                raise Refusal(None, f"{file} is no plain file", "Save what it gives as a file and import that")
            packed = raw.read(len(_ZIP)) == _ZIP
        if not packed:
            return [Part(file.name, file.stat().st_size, True, file)]
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except OSError as failed:
        raise Refusal(None, f"{file} cannot be read: {failed.strerror}", "Check its path and mode") from None
    except (zipfile.BadZipFile, NotImplementedError) as broken:
        raise Refusal(None, f"{file.name} is no whole ZIP: {broken}", "Download it anew") from None
    if any(member.filename == "[Content_Types].xml" for member in members):
        raise Refusal(None, f"{file.name} is an Excel workbook", "Save it as CSV UTF-8 and import that")
    lists = [one for one in members if not one.is_dir() and not any(odd in one.filename.lower() for odd in _ODD)]
    _check_archive(file, lists)
    return [Part(Path(one.filename).name, one.file_size, False, file, one) for one in lists]


def _check_archive(file: Path, members: list[zipfile.ZipInfo]) -> None:
    remedy = "Unpack it yourself, look at what it holds, and import the lists one by one"
    if not members:
        raise Refusal(None, f"{file.name} holds no list", "Export it anew")
    if len(members) > MEMBERS or sum(member.file_size for member in members) > UNPACKED:
        raise Refusal(None, f"{file.name} holds more than an audience does ({len(members)} files)", remedy)
    for member in members:
        name = ascii(member.filename[:60])
        if member.filename.startswith(("/", "\\")) or ".." in member.filename or ":" in member.filename:
            raise Refusal(None, f"{file.name} holds {name}, a name that points elsewhere", remedy)
        if member.flag_bits & 1:
            raise Refusal(
                None, f"{file.name} is locked with a password", "Unpack it with the password and import the files"
            )
        if member.file_size > SMALL and member.file_size > TIGHTEST * max(member.compress_size, 1):
            raise Refusal(None, f"{file.name} holds {name}, which is packed tighter than any list", remedy)
        if not member.filename.lower().endswith((".csv", ".txt", ".tsv", ".json")):
            raise Refusal(None, f"{file.name} holds {name}, which is no list in CSV or JSON", remedy)


def decoded(raw: BinaryIO) -> io.TextIOWrapper:
    """The text of bytes that proved to be UTF-8."""
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def digest(file: Path) -> bytes:
    """SHA-256 of a file."""
    with file.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").digest()
