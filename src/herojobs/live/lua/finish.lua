-- Ends claimed jobs, whatever status they have by now.
-- ARGV: now, seconds that they stay (0 = for ever, -1 = not at all), then for each: id, token, job, sum, status
-- Returns: for each job 1 = accepted, 0 = lost
-- The lease goes first: a write that a server at its maxmemory allows, after which the others are allowed too.
local argv, stays, ttl = ARGV, ARGV[2], tonumber(ARGV[2])
local answer, ids, keys, olds, places, n = {}, {}, {}, {}, {}, 0
for i = 3, #argv, 5 do
  local key = jobs .. argv[i]
  local old = call('HMGET', key, 'lt', 'job', 'sum', 'kd')
  -- No hash at all: Redis was wiped while the job ran, and nobody has brought it back.
  local accepted = old[1] == argv[i + 1] or not (old[1] or old[2])
  if accepted then
    n = n + 1
    ids[n], keys[n], olds[n], places[n] = argv[i], key, old, i
  end
  answer[(i + 2) / 5] = accepted and 1 or 0
end
local released = 0
for i = 1, n, 1000 do
  released = released + call('ZREM', lease, unpack(ids, i, math.min(i + 999, n)))
end
local ends = {done = ',"status":"done"', error = ',"status":"error"'}
for k = 1, n do
  local id, key, old, i = ids[k], keys[k], olds[k], places[k]
  local status = argv[i + 4]
  if displaced(id, old[2], old[3]) then
    call('HDEL', key, 'lt', 'sum', 'st', 'at', 'cx', 'x', 'db', 'pr')
  else
    if released < n then unqueue(id) end -- some lease ran out, and its id went back meanwhile
    if ttl < 0 then
      call('UNLINK', key)
    else
      call('HSET', key, 'job', argv[i + 2], 'sum', argv[i + 3], 'st', status, 'lt', '')
      if ttl > 0 then call('EXPIRE', key, stays) end
    end
  end
  tell(status, id, ends[status])
  if old[4] then flows().tell_kids(id, status == 'done') end
end
publish()
return answer
