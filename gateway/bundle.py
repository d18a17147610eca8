"""A ZIP of files that proves itself: each file's digest in a list, the list signed with the key that signs heads.

Written beside its name and put in place when it is whole; what was begun and not finished leaves nothing behind. Two
that are made at once under one name do not touch each other: the first one stands.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FORMAT: Final = "consentgate-proof 1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""What a ZIP can date its files with."""


class BundleTaken(OSError):
    """There is a file of that name already; it is left alone."""


class Bundle:
    """A ZIP while it is written, one file after the other. Raises OSError where the disk does not take it."""

    def __init__(self, path: Path, at: datetime) -> None:
        """`path`: where it is to stand; `at`: aware UTC, the date of all files in it."""
        if path.exists():
            raise BundleTaken(f"{path} is there already")
        self.path, self.at = path, at
        handle, part = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)  # for the owner only
        self._part = Path(part)
        self._file = os.fdopen(handle, "wb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)
        self._listed: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left of a bundle that was not sealed."""
        if not self._file.closed:
            with contextlib.suppress(OSError, ValueError):
                self._zip.close()
            self._file.close()
            self._part.unlink(missing_ok=True)

    def add(self, name: str, content: bytes) -> None:
        """Add a file whole."""
        with self.adding(name) as write:
            write(content)

    def add_json(self, name: str, value: Any) -> None:
        """Add a file of JSON, laid out to be read."""
        self.add(name, json.dumps(value, ensure_ascii=False, indent=1, default=_plain).encode() + b"\n")

    @contextlib.contextmanager
    def adding(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Add a file piece by piece; memory stays flat."""
        digest, size = hashlib.sha256(), 0
        with self._zip.open(self._dated(name), "w", force_zip64=True) as out:

            def write(piece: bytes) -> None:
                nonlocal size
                digest.update(piece)
                size += len(piece)
                out.write(piece)

            yield write
        self._listed[name] = {"sha256": digest.hexdigest(), "bytes": size}

    def seal(self, about: Mapping[str, Any], sign: Callable[[bytes], bytes]) -> bytes:
        """List and sign what was added, and put the ZIP in place; the digest of the list (SHA-256).

        BundleTaken where a file of its name appeared meanwhile.
        """
        said = {"format": FORMAT, "made_at": self.at, **about, "files": self._listed}
        manifest = json.dumps(said, ensure_ascii=False, indent=1, default=_plain).encode() + b"\n"
        for name, content in ((MANIFEST, manifest), (SIGNATURE, sign(manifest).hex().encode() + b"\n")):
            self._zip.writestr(self._dated(name), content)
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            os.link(self._part, self.path)  # unlike a renaming, this never replaces a file
        except FileExistsError:
            raise BundleTaken(f"{self.path} is there already") from None
        finally:
            self._part.unlink()
        return hashlib.sha256(manifest).digest()

    def _dated(self, name: str) -> zipfile.ZipInfo:
        at = max(self.at.astimezone(UTC), _EARLIEST)
        info = zipfile.ZipInfo(name, at.timetuple()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        return info


def line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no place in a proof")
