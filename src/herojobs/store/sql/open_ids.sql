-- Ids of the jobs of a queue that aren't over.
SELECT key & 0xFFFFFFFF FROM job
WHERE queue = (SELECT id FROM queue WHERE circle = :circle AND topic = :topic)
  AND status IN ('new', 'active') AND status <> 'done'
ORDER BY key
