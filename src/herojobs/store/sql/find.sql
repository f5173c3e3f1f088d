-- One page of keys, the newest first. {conditions} are fixed texts of index.py; every value is bound.
SELECT job.key, job.created, queue.circle, queue.topic
FROM job JOIN queue ON queue.id = job.queue
WHERE {conditions}
ORDER BY job.created DESC, job.key DESC
LIMIT :limit
