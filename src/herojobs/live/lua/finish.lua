-- with flows
-- Ends claimed jobs, whatever status they have by now.
-- ARGV: now, seconds that they stay (0 = for ever, -1 = not at all), then for each: id, token, job, sum, status
-- Returns: for each job 1 = accepted, 0 = lost
-- The lease goes first: a write that a server at its maxmemory allows, after which the others are allowed too.
local ttl, stays, answer, ids = tonumber(ARGV[2]), ARGV[2], {}, {}
local old = {}
for i = 3, #ARGV, 5 do
  local id = ARGV[i]
  local was = call('HMGET', jobs .. id, 'lt', 'job', 'sum', 'kd')
  -- No hash at all: Redis was wiped while the job ran, and nobody has brought it back.
  if was[1] == ARGV[i + 1] or not (was[1] or was[2]) then
    ids[#ids + 1] = id
    old[i] = was
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
local released = 0
for i = 1, #ids, 1000 do
  released = released + call('ZREM', lease, unpack(ids, i, math.min(i + 999, #ids)))
end
for i = 3, #ARGV, 5 do
  local was = old[i]
  if was then
    local id, key = ARGV[i], jobs .. ARGV[i]
    if displaced(id, was[2], was[3]) then
      call('HDEL', key, 'lt', 'sum', 'st', 'at', 'cx', 'x', 'db', 'pr')
    else
      if released < #ids then unqueue(id) end -- some lease ran out, and its id went back meanwhile
      if ttl < 0 then
        call('UNLINK', key)
      else
        call('HSET', key, 'job', ARGV[i + 2], 'sum', ARGV[i + 3], 'st', ARGV[i + 4], 'lt', '')
        if ttl > 0 then call('EXPIRE', key, stays) end
      end
    end
    tell(ARGV[i + 4], id, ',"status":"' .. ARGV[i + 4] .. '"')
    if was[4] then flows().tell_kids(id, ARGV[i + 4] == 'done') end
  end
end
publish()
return answer
