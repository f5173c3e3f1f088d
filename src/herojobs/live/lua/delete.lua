-- Removes a job that isn't leased.
-- ARGV: now, id
-- Returns: 'deleted', 'running' or 'missing'
local id, key = ARGV[2], jobs .. ARGV[2]
local old = call('HMGET', key, 'job', 'sum', 'kd')
if call('ZSCORE', lease, id) then return 'running' end
if displaced(id, old[1], old[2]) then return 'missing' end
local found = unqueue(id) + call('UNLINK', key)
if found == 0 then return 'missing' end
tell('deleted', id)
if old[3] then flows().tell_kids(id, false) end
publish()
return 'deleted'
