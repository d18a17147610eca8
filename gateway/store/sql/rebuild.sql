-- name: next_keys(controller_id, after, n)
-- Recipient keys that a row of the projection stands under.
SELECT recipient_key FROM (
  SELECT recipient_key FROM standing WHERE controller_id = :controller_id AND recipient_key > :after
  ORDER BY recipient_key LIMIT :n
) AS standing_keys UNION SELECT recipient_key FROM (
  SELECT recipient_key FROM suppressions WHERE controller_id = :controller_id AND recipient_key > :after
  ORDER BY recipient_key LIMIT :n
) AS listed_keys ORDER BY recipient_key LIMIT :n;

-- name: drop_suppression(controller_id, recipient_key, suppression_id)!
DELETE FROM suppressions
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND suppression_id = :suppression_id;
