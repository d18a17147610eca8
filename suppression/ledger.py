"""The tamper-evident record of what people and staff did about consent (GDPR art. 5(2), 7(1)).

An entry has public fields (no personal data), and private fields sealed under the key of the person it is about. The
commitment binds the private fields without revealing them: SHA-256 over a random blind and the fields; the blind is
sealed with them, so that it is gone when the key is. Entries are written unsealed, with no place in the chain;
a sequencer gives each its number and hash later (chain.py).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from suppression.frozen import quick_init
from suppression.vault import NONCE_BYTES, PersonSecret, seal, unseal

BLIND_BYTES: Final = 32
RANDOM_BYTES: Final = NONCE_BYTES + BLIND_BYTES

KINDS: Final[Mapping[str, str]] = {
    "consent": "a consent was recorded: an opt-in that was given",
    "opt_in_requested": "somebody signed up; a confirmation from the mailbox is asked for before the consent counts",
    "opt_in_confirmed": "a sign-up was confirmed from the mailbox (double opt-in): its consent is in force",
    "opt_in_expired": "a sign-up was not confirmed in time; it counts no more (RULES.md B7, 7.2)",
    "sale": "a sale or other customer relation was recorded",
    "person": "facts about a person were recorded",
    "withdrawal": "consent was withdrawn for a purpose, or for all (GDPR art. 7(3))",
    "objection": "the person objected to direct marketing (GDPR art. 21(2)); ends consents as a withdrawal does",
    "complaint": "the person reported a mail as unwanted; ends consents as a withdrawal does",
    "withdrawal_undone": "the person undid one of these three within ten minutes (RULES.md 2.1.10 c)",
    "suppression": "marketing was forbidden within a scope",
    "suppression_lifted": "a suppression ended, on one of the grounds of RULES.md 2.1.10",
    "restriction": "processing was restricted: store only (GDPR art. 18)",
    "restriction_lifted": "a restriction ended (GDPR art. 18(3))",
    "rectification": "facts about the person were corrected (GDPR art. 16); hashes say what stood before",
    "erasure_request": "the person asked to be erased (GDPR art. 17), or that request was answered",
    "undeliverable": "the address was found dead, or to work again",
    "mailed": "marketing went out on the ground of a sale whose window each mailing renews (pack IE)",
    "confirmation_sent": "a mail left that asked to confirm a sign-up; there is one per request (RULES.md B6)",
    "notice_queued": "a letter that the law asks for was put in the queue: which, and about which entries",
    "import_undone": "what an import had brought was taken back, its opt-outs excepted",
    "wording": "a wording that people are shown was kept: its name, and the digest of its content",
    "source": "a version of the file about a third party's list was kept: its name, the digest, whether it is complete",
    "hash_list": "people who must not be mailed were put on a list by the hash of their address: keyed, each of them",
    "evidence": "a file that proves a consent was kept for the person: its id, and the digest of what is stored",
    "ruling": "staff ruled whether two product categories are similar, or asked a second person to (RULES.md Q3, S3)",
    "mail_ruling": "staff said whether mail of a service stream that looks like advertising is service mail, and why",
    "looked_at": "staff looked at what is stored about the person (RULES.md S5)",
    "erasure": "the person was erased; the only entry that carries the recipient key (GDPR art. 17, RULES.md 6.4)",
    "import": "a file was taken in: its digest, its format, what became of its rows",
    "staff_act": "staff did something about no single person: users, settings, queue, ledger",
}
"""Every kind of entry, and what it says. Their fields and their effect on the standing: standing.apply."""

CONTROLLER_KINDS: Final = frozenset({"import", "staff_act", "wording", "source", "hash_list", "ruling", "mail_ruling"})
"""Kinds about no person. Their subject is made with the controller's own secret, so that no person's can be the same;
nothing of a standing follows from them, and no erasure touches them."""

ALWAYS_WRITTEN: Final = frozenset(
    {"suppression", "suppression_lifted", "rectification", "evidence", "looked_at", "notice_queued"}
)
"""Kinds that are written although they change no standing."""


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One unsealed entry. `at` in milliseconds since 1970 UTC; `entry_id` a UUIDv7 (16 bytes)."""

    controller_id: str
    entry_id: bytes
    at: int
    kind: str
    subject: bytes
    public: bytes
    private: bytes | None
    commitment: bytes | None


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def encode(fields: Mapping[str, Any]) -> bytes:
    """Fields as canonical JSON: sorted names, no spaces, UTF-8."""
    return _CANONICAL(fields).encode()


def write(
    *, controller_id: str, entry_id: bytes, at: int, kind: str, person: PersonSecret, recipient_key: bytes,
    public: Mapping[str, Any], private: Mapping[str, Any] | None, random: bytes,
) -> Entry:  # fmt: skip
    """A new entry about one person. `random`: RANDOM_BYTES fresh bytes, for the nonce and the blind."""
    if kind not in KINDS:
        raise ValueError(f"no such kind of ledger entry: {kind}")
    return write_encoded(
        controller_id=controller_id, entry_id=entry_id, at=at, kind=kind, key=person.key,
        subject=person.subject(recipient_key), public=encode(public),
        private=None if private is None else encode(private), random=random,
    )  # fmt: skip


def write_encoded(
    *, controller_id: str, entry_id: bytes, at: int, kind: str, key: bytes, subject: bytes, public: bytes,
    private: bytes | None, random: bytes,
) -> Entry:  # fmt: skip
    """The same from what a person's secret gives (`key`, `subject`) and fields that are canonical JSON already."""
    stored = (None, None) if private is None else sealed(key, private, entry_id, random)
    return Entry(
        controller_id=controller_id, entry_id=entry_id, at=at, kind=kind, subject=subject, public=public,
        private=stored[0], commitment=stored[1],
    )  # fmt: skip


def sealed(key: bytes, plain: bytes, entry_id: bytes, random: bytes) -> tuple[bytes, bytes]:
    """Private fields, given as canonical JSON, as they are stored, and the commitment to them."""
    blinded = random[NONCE_BYTES:RANDOM_BYTES] + plain
    return seal(key, blinded, entry_id, random[:NONCE_BYTES]), hashlib.sha256(blinded).digest()


def opened(key: bytes, private: bytes, entry_id: bytes) -> bytes:
    """Private fields as canonical JSON again; vault.Unreadable where the key is gone or a byte was changed."""
    return unseal(key, private, entry_id)[BLIND_BYTES:]


def read_private(entry: Entry, person: PersonSecret) -> dict[str, Any]:
    """The private fields; vault.Unreadable where the key is gone or a byte was changed."""
    if entry.private is None:
        return {}
    fields: dict[str, Any] = json.loads(opened(person.key, entry.private, entry.entry_id))
    return fields
