"""Passwords of logins and staff: how they are made and hashed."""

import secrets
from functools import cache

import argon2

# OWASP's smaller profile: about 15 ms on one core, so that a tool that logs in for each message stays fast.
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def made() -> str:
    """A new password, 120 bits, in characters that survive shells and configuration files."""
    return secrets.token_urlsafe(15).replace("-", "x").replace("_", "y")


def hashed(password: str) -> str:
    """The argon2id hash of a password, in its usual text form."""
    return HASHER.hash(password)


@cache
def nobodys() -> str:
    """A hash that no password fits, and that takes as long to check as any that was made here."""
    return hashed(secrets.token_hex())
