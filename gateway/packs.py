"""Jurisdiction packs read from the disk: those that ship with the product, and those an installation brings along."""

from importlib.resources import files
from pathlib import Path

from suppression.jurisdiction import PackBook, load_packs
from suppression.pack import PackError


def read_packs(folder: Path | None = None) -> PackBook:
    """Every pack of suppression/packs, and every `*.toml` of a folder of the installation's own.

    Raises PackError naming file, line, field and remedy; also where a file cannot be read.
    """
    shipped = files("suppression") / "packs"
    texts = {file.name: file.read_text("utf-8") for file in shipped.iterdir() if file.name.endswith(".toml")}
    return load_packs(texts, _own(folder) if folder is not None else None)


def _own(folder: Path) -> dict[str, str]:
    return {str(file): read_text(file) for file in sorted(folder.glob("*.toml"))}


def read_text(file: Path) -> str:
    """The text of one pack. Raises PackError."""
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise PackError(str(file), "file", f"cannot be read: {error.strerror}; check its path and mode") from None
    except UnicodeDecodeError:
        raise PackError(str(file), "file", "is not UTF-8 text; save it as UTF-8") from None
