-- name: note_check(controller_id, kind, name, checked, failed, at, why)!
-- The last word stands; what failed before is still counted.
INSERT INTO mail_checks (controller_id, kind, name, checked, failed, last_at, failed_at, why)
VALUES (:controller_id, :kind, :name, :checked, :failed, :at, CASE WHEN CAST(:failed AS INTEGER) > 0 THEN CAST(:at AS INTEGER) END, :why)
ON CONFLICT (controller_id, kind, name) DO UPDATE SET checked = mail_checks.checked + excluded.checked,
  failed = mail_checks.failed + excluded.failed, last_at = max(mail_checks.last_at, excluded.last_at),
  failed_at = coalesce(excluded.failed_at, mail_checks.failed_at),
  why = CASE WHEN excluded.failed > 0 THEN excluded.why ELSE mail_checks.why END;

-- name: checks(controller_id)
SELECT kind, name, checked, failed, last_at, failed_at, why FROM mail_checks
WHERE controller_id = :controller_id ORDER BY kind, name;
