-- name: reserve(name, now, span, until, far)^
-- Take the next span of a pace; where it ends.
INSERT INTO paces (name, taken_until) VALUES (:name, :until)
ON CONFLICT (name) DO UPDATE SET taken_until = CASE
  WHEN paces.taken_until > :now AND paces.taken_until < :far THEN paces.taken_until + :span ELSE excluded.taken_until END
RETURNING taken_until;

-- name: forget(before)!
DELETE FROM paces WHERE taken_until < :before;
