-- name: wording_entries(controller_id, names)
SELECT convert_to(controller_id, 'UTF8'), entry_id, at, convert_to(kind, 'UTF8'), subject, convert_to(public, 'UTF8'),
  private, commitment, seq, previous, hash
FROM ledger
WHERE controller_id = :controller_id AND kind IN ('wording', 'source', 'evidence', 'hash_list') AND kind = 'wording'
  AND fields(public) ->> 'name' IN (SELECT jsonb_array_elements_text(CAST(:names AS jsonb)))
ORDER BY entry_id;
