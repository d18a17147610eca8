"""Bounce rules read from the disk: those that ship with the product, and an installation's own file."""

from pathlib import Path

from gateway.mail.judgement import BounceRules, RulesError, load_rules

SHIPPED = Path(__file__).parent / "mail" / "bounce_rules.toml"


def read_bounce_rules(own: Path | None = None) -> BounceRules:
    """The rules that ship, with those of a file over and before them.

    Raises RulesError naming file, line, field and remedy; also where the file cannot be read.
    """
    shipped = SHIPPED.read_text("utf-8")
    if own is None:
        return load_rules(shipped)
    try:
        text = own.read_text("utf-8")
    except OSError as error:
        raise RulesError(str(own), "file", f"cannot be read: {error.strerror}", "Check its path and mode") from None
    except UnicodeDecodeError:
        raise RulesError(str(own), "file", "is not UTF-8 text", "Save it as UTF-8") from None
    return load_rules(shipped, text, name=str(own))
