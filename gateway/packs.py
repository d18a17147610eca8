"""The jurisdiction packs that ship with the product, read from the package's data."""

from importlib.resources import files

from suppression.jurisdiction import Packs, load_packs


def read_packs() -> Packs:
    """Every pack of suppression/packs. Raises PackError naming file, field and remedy."""
    folder = files("suppression") / "packs"
    texts = {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")}
    return load_packs(texts)
