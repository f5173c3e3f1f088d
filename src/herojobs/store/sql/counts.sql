-- Jobs by status in the queues of the JSON list :queues; status * is all of them.
SELECT status, count(*) FROM job
WHERE queue IN (SELECT value FROM json_each(:queues)) AND status <> 'done'
GROUP BY status
UNION ALL
SELECT '*', count(*) FROM job WHERE queue IN (SELECT value FROM json_each(:queues))
