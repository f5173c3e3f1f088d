-- Takes a waiting job out of its queue, or asks the WatchDog that runs it to stop it.
-- ARGV: now, id, job (as it is once cancelled), sum, seconds that it stays (0 = for ever, -1 = not at all)
-- Returns: 'removed', 'running', 'over' or 'missing'
local id, key, ttl = ARGV[2], jobs .. ARGV[2], tonumber(ARGV[5])
local old = call('HMGET', key, 'job', 'sum', 'st', 'kd')
if call('ZSCORE', lease, id) then
  call('HSET', key, 'cx', '1')
  tell('cancel', id)
  publish()
  call('PUBLISH', 'herocontrol:' .. q, '{"id":' .. shown(id) .. ',"what":"cancel"}')
  return 'running'
end
if over(old[1], old[2], old[3]) then return 'over' end
-- A foreign program's job under this id isn't the one that is meant.
if displaced(id, old[1], old[2]) then return 'missing' end
unqueue(id)
if not old[1] then return 'missing' end
if ttl < 0 then
  call('UNLINK', key)
else
  call('HSET', key, 'job', ARGV[3], 'sum', ARGV[4], 'st', 'error', 'lt', '')
  call('HDEL', key, 'cx', 'pr')
  if ttl > 0 then call('EXPIRE', key, ttl) end
end
tell('error', id, ',"status":"error"')
if old[4] then flows().tell_kids(id, false) end
publish()
return 'removed'
