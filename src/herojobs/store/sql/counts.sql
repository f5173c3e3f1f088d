-- Jobs by status in the queues of the JSON list :queues, or in all if it is null.
SELECT status, sum(count) FROM tally
WHERE :queues IS NULL OR queue IN (SELECT value FROM json_each(:queues))
GROUP BY status
