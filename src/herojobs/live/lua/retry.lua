-- Queues a job again that OurDB knew as over, or as waiting for its retry, and now knows as new. A lease that is left is one whose WatchDog hasn't
-- told us the end yet: it is taken away, so that its word comes too late.
-- ARGV: now, id, job, sum, priority
-- Returns: 'queued', or 'conflict': a foreign program's job has this id
local id, key, priority = ARGV[2], jobs .. ARGV[2], ARGV[5]
local old = call('HMGET', key, 'job', 'sum')
if displaced(id, old[1], old[2]) then return 'conflict' end
unqueue(id)
call('ZREM', lease, id)
call('HDEL', key, 'cx', 'pr', 'x', 'at')
call('HSET', key, 'job', ARGV[3], 'sum', ARGV[4], 'st', 'new', 'lt', '')
call('PERSIST', key)
enqueue(id, 0, priority)
know()
tell('retried', id)
wake()
publish()
return 'queued'
