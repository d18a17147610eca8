-- name: came_back(controller_id, since, kinds, before, n)
SELECT report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, stream, campaign,
  content
FROM returns
WHERE controller_id = :controller_id AND report_id < :before AND at >= :since
  AND (CAST(:kinds AS text) = '[]' OR kind IN (SELECT jsonb_array_elements_text(CAST(:kinds AS jsonb))))
ORDER BY report_id DESC LIMIT :n;

-- name: of_person(controller_id, recipient_key, since, kinds, before, n)
SELECT report_id, at, kind, source, proven, bounce_class, reason, status, dead, task, recipient_key, message_id, stream, campaign,
  content
FROM returns
WHERE controller_id = :controller_id AND recipient_key = :recipient_key AND report_id < :before AND at >= :since
  AND (CAST(:kinds AS text) = '[]' OR kind IN (SELECT jsonb_array_elements_text(CAST(:kinds AS jsonb))))
ORDER BY report_id DESC LIMIT :n;
