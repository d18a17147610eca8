"""What looks like advertising, read from the disk: what ships with the product, and an installation's own file."""

from functools import cache
from pathlib import Path

from gateway.mail.promotional import PromotionalError, PromotionalRules, load_promotional

SHIPPED = Path(__file__).parent / "mail" / "promotional.toml"


def read_promotional_rules(own: Path | None = None) -> PromotionalRules:
    """The rules that ship, changed by a file of the installation.

    Raises PromotionalError naming file, field and remedy; also where the file cannot be read.
    """
    if own is None:
        return _shipped()
    try:
        text = own.read_text("utf-8")
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise PromotionalError(str(own), "file", what, "Check its path and mode") from None
    except UnicodeDecodeError:
        raise PromotionalError(str(own), "file", "is not UTF-8 text", "Save it as UTF-8") from None
    return load_promotional(SHIPPED.read_text("utf-8"), text, name=str(own))


@cache
def _shipped() -> PromotionalRules:
    return load_promotional(SHIPPED.read_text("utf-8"))
