"""How somebody is looked up: every key an address may be filed under, at one controller and for all."""

from gateway.store.contract import Who
from suppression.vault import KeyRing


def whose(ring: KeyRing, controller_id: str, plain: str | None, recipient_key: bytes | None = None) -> Who:
    """The look-up of one normalised address, of a key that is on file, or of both; the key then comes first."""
    keys = ring.recipient_keys(controller_id, plain) if plain else ()
    first = (recipient_key,) if recipient_key is not None else ()
    return Who(
        controller_id=controller_id, recipient_keys=(*first, *(key for key in keys if key != recipient_key)),
        global_keys=ring.global_keys(plain) if plain else (), address=plain or None,
    )  # fmt: skip
