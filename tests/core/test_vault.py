"""suppression/vault.py: what is derived from which key."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from suppression.vault import KeyRing, keyed_hash


@given(st.binary(min_size=1, max_size=64), st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_a_keyed_hash_is_an_hmac(key: bytes, plains: list[bytes]) -> None:
    """For every key and whatever was hashed under it before."""
    assert [keyed_hash(key, plain) for plain in plains] == [hmac.digest(key, plain, "sha256") for plain in plains]


def test_recipient_keys_stay_what_they_are() -> None:
    """They stand in databases and links: one that came out otherwise would lift every opt-out."""
    ring = KeyRing({1: bytes(range(32)), 2: bytes(32)})
    keys = (*ring.recipient_keys("acme", "anna@example.org"), *ring.global_keys("a@example.org"))
    assert [key.hex() for key in keys] == [
        "25426c2babbd1906d86efbdf7a96ec65", "ceee649ce0c62c99e14008df35ab6633",
        "15ac7aae3c30b71b787bfebdcb079f3d", "a7fb485526991742de8f7c026f05549c",
    ]  # fmt: skip
