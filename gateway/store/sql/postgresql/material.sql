-- name: wordings_in_ledger(controller_id)
SELECT fields(public) ->> 'name' FROM ledger
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'wording'
  AND fields(public) IS NOT NULL;

-- name: sources_in_ledger(controller_id)
SELECT fields(public) ->> 'name',
  CASE WHEN jsonb_typeof(fields(public) -> 'version') = 'number' THEN
    CAST(CAST(fields(public) ->> 'version' AS numeric) AS bigint)
  END
FROM ledger
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'source'
  AND fields(public) IS NOT NULL;

-- name: attachments_in_ledger(controller_id)
SELECT fields(public) ->> 'attachment' FROM ledger
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'evidence'
  AND fields(public) IS NOT NULL;
