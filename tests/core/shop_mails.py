"""Mails as shops and services send them, in four languages: those that serve, and those that sell (shop_mails.toml)."""

import tomllib
from pathlib import Path

_DATA = tomllib.loads((Path(__file__).parent / "shop_mails.toml").read_text("utf-8"))
Mails = dict[str, list[tuple[str, str]]]


def _mails(kind: str) -> Mails:
    return {language: [(one["subject"], one["text"]) for one in mails] for language, mails in _DATA[kind].items()}


SERVICE, PROMOTION = _mails("service"), _mails("promotion")
"""(subject, text), by language."""
