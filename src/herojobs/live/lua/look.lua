-- ARGV: now, id
-- Returns: the job, nil if there is none
local job = pcall('HGET', jobs .. ARGV[2], 'job')
return type(job) == 'string' and job or false
