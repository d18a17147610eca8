-- name: owe(controller_id, letter_id, kind, recipient_key, due_at, about)!
INSERT INTO letters (controller_id, letter_id, kind, recipient_key, due_at, about)
VALUES (:controller_id, :letter_id, :kind, :recipient_key, :due_at, :about)
ON CONFLICT DO NOTHING;

-- name: due(now, n)
-- The letters that wait longest, by the index letters_due.
SELECT controller_id, letter_id, kind, recipient_key, due_at, about, written_at FROM letters INDEXED BY letters_due
WHERE settled_at IS NULL AND due_at <= :now ORDER BY due_at LIMIT :n;

-- name: to_person(controller_id, recipient_key)
SELECT controller_id, letter_id, kind, recipient_key, due_at, about, written_at FROM letters
WHERE controller_id = :controller_id AND recipient_key = :recipient_key ORDER BY due_at;

-- name: is_open(controller_id, letter_id)^
SELECT 1 FROM letters WHERE controller_id = :controller_id AND letter_id = :letter_id AND settled_at IS NULL;

-- name: settle(controller_id, letter_id, now, written_at)!
UPDATE letters SET settled_at = :now, written_at = :written_at
WHERE controller_id = :controller_id AND letter_id = :letter_id AND settled_at IS NULL;

-- name: put_off(controller_id, letter_id, due_at)!
UPDATE letters SET due_at = :due_at
WHERE controller_id = :controller_id AND letter_id = :letter_id AND settled_at IS NULL;

-- name: withdraw(controller_id, letter_id)!
DELETE FROM letters WHERE controller_id = :controller_id AND letter_id = :letter_id AND settled_at IS NULL;

-- name: forget(controller_id, recipient_key)!
DELETE FROM letters WHERE controller_id = :controller_id AND recipient_key = :recipient_key;

-- name: drop_settled(before)!
DELETE FROM letters WHERE settled_at < :before;

-- name: told_in_mail(controller_id, recipient_key)^
-- Whether mail on the ground of a consent arrived: its footer names who passed the address on.
SELECT 1 FROM copies
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND state = 'delivered' AND basis = 'opt_in'
LIMIT 1;
