"""A new file for its owner alone, whole or not there: written beside its place and put there at the end.

Nothing is ever written over. What a killed process leaves has the ending `.part`.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class Unwritable(Exception):
    """The file cannot be made; the text says why and what to do."""


@contextlib.contextmanager
def new_file(place: Path) -> Iterator[BinaryIO]:
    """Write a file of mode 0600, on disk when the block ends; none where the block or the disk fails. Unwritable."""
    if place.exists():
        raise _taken(place)
    try:
        handle, name = tempfile.mkstemp(prefix=f"{place.name}.", suffix=".part", dir=place.parent)
    except OSError as failed:
        raise Unwritable(f"{place} cannot be written: {failed.strerror}. Check its folder.") from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.link(part, place)  # unlike a renaming, this never replaces a file
    except FileExistsError:
        raise _taken(place) from None
    except OSError as failed:
        raise Unwritable(f"{place} cannot be written: {failed.strerror or failed}. Make room there.") from None
    finally:
        part.unlink(missing_ok=True)


def _taken(place: Path) -> Unwritable:
    return Unwritable(f"{place} is there already, and is not written over. Name another file.")
