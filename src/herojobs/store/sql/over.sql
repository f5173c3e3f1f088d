-- One page of the jobs of a queue that are over and were submitted before a time, the oldest first.
SELECT created, key FROM job
WHERE queue = (SELECT id FROM queue WHERE circle = :circle AND topic = :topic)
  AND status IN ('done', 'error') AND status = ifnull(:status, status)
  AND created < :before AND (created, key) > (:created, :key)
ORDER BY created, key
LIMIT :limit
