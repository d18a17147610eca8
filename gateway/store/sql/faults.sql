-- name: note_fault(route, host, stage, code, said, at)!
INSERT INTO host_faults (route, host, stage, code, said, since, last_at)
VALUES (:route, :host, :stage, :code, :said, :at, :at)
ON CONFLICT (route, host) DO UPDATE SET stage = excluded.stage, code = excluded.code, said = excluded.said,
  last_at = excluded.last_at;

-- name: is_well(route, host)!
DELETE FROM host_faults WHERE route = :route AND host = :host;

-- name: faults()
SELECT route, host, stage, code, said, since, last_at FROM host_faults ORDER BY route, host;
