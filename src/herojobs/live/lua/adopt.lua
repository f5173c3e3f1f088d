-- Makes a claimed job that a foreign program wrote one of ours; what stood in our fields was of an earlier job.
-- ARGV: now, token, id, job, sum, its OurDB id
-- Returns: 1, or 0 = the claim was lost
local id, key = ARGV[3], jobs .. ARGV[3]
if call('HGET', key, 'lt') ~= ARGV[2] then return 0 end
call('HDEL', key, 'x', 'cx', 'pr', 'db')
call('HSET', key, 'job', ARGV[4], 'sum', ARGV[5], 'st', 'new', 'at', 1)
if ARGV[6] ~= id then call('HSET', key, 'db', ARGV[6]) end
call('PERSIST', key)
know()
tell('adopted', id)
publish()
return 1
