-- A job as it is now. Only what changes is written, so that an index on the rest isn't touched.
INSERT INTO job (key, queue, created, status, kind, reason) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    created = excluded.created, status = excluded.status, kind = excluded.kind, reason = excluded.reason
