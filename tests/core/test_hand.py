"""What a worker has in hand, and what it only seems to have."""

from datetime import UTC, datetime

from gateway.hand import Hand
from gateway.store.contract import ClaimedCopy
from gateway.store.waiting import CopyKey

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
A, B, C = (CopyKey("acme", bytes(16), number) for number in range(3))


def claim(key: CopyKey) -> ClaimedCopy:
    return ClaimedCopy(
        controller_id=key.controller_id, message_id=key.message_id, copy_no=key.copy_no, recipient_key=bytes(16),
        rcpt=b"", attempts=0, verdict="allow", reason_code="OK", decided_at=NOW, size=1, due_at=NOW, said="",
    )  # fmt: skip


def test_a_copy_is_had_from_the_claim_until_its_ending_is_written() -> None:
    hand, one = Hand(), claim(B)
    hand.take(A, None)
    hand.take(B, one)
    assert hand.has(A, None) and hand.has(B, one) and not hand.has(C, None)
    hand.put_down(B)
    assert not hand.has(B, one)


def test_who_claims_it_again_has_it_by_the_later_claim_alone() -> None:
    """It was taken back meanwhile: what was made of the first claim lies in a lane still, and must not leave too."""
    hand, again = Hand(), claim(A)
    hand.take(A, None)
    hand.take(A, again)
    assert hand.has(A, again) and not hand.has(A, None) and not hand.has(A, claim(A))


def test_after_a_lease_ran_out_only_what_is_still_ours_is_had() -> None:
    hand = Hand()
    hand.take(A, None)
    hand.take(B, None)
    hand.keep([B, C])
    assert hand.has(B, None) and not hand.has(A, None) and not hand.has(C, None)


def test_a_stray_is_what_nobody_has_at_two_looks() -> None:
    hand = Hand()
    hand.take(A, None)
    assert hand.strays([A, B, C]) == []
    hand.take(C, None)  # its claim was still being answered
    assert hand.strays([A, B, C]) == [B]
    assert hand.strays([A, C]) == [] == hand.strays([B])
