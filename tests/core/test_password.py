"""Passwords: what is made survives a shell, and a name that is not there is checked for as long as one that is."""

import re

import argon2
import pytest

from gateway import password


def test_what_is_made_is_long_and_plain_and_fits_its_hash() -> None:
    first, second = password.made(), password.made()
    assert first != second and re.fullmatch(r"[A-Za-z0-9]{20}", first)
    assert password.HASHER.verify(password.hashed(first), first)


def test_nobodys_hash_costs_what_anybodys_does_and_nothing_fits_it() -> None:
    """A hash carries its costs: with others, the time of an answer would tell which names there are."""
    assert argon2.extract_parameters(password.nobodys()) == argon2.extract_parameters(password.hashed("x"))
    assert password.nobodys() == password.nobodys()
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        password.HASHER.verify(password.nobodys(), "")
