-- Takes waiting jobs whose time to start is over, wherever they wait, and leases them to who ends them.
-- ARGV: now, most jobs to take, lease in ms, token
-- Returns: as claim; it says that ids still wait, since it doesn't know
local ends, token, taken = now + ARGV[3], ARGV[4], {}
local ids = call('ZRANGEBYSCORE', expire, '-inf', now, 'LIMIT', 0, ARGV[2])
each('ZREM', expire, ids)
for _, id in ipairs(ids) do
  local key = jobs .. id
  local job = call('HMGET', key, 'job', 'sum', 'x', 'at', 'db', 'st', 'cx')
  if call('ZSCORE', lease, id) then
    -- Perhaps sent to a worker and not begun: it may come back.
    if job[6] == 'new' then call('ZADD', expire, now + 1000, id) end
  elseif job[1] and not over(job[1], job[2], job[6]) and unqueue(id) > 0 then
    job[4] = (tonumber(job[4]) or 0) + 1
    call('HSET', key, 'lt', token, 'at', job[4])
    call('ZADD', lease, ends, id)
    job[8] = id
    taken[#taken + 1] = job
  end
end
return {now, #taken > 0 and ends or 0, 1, taken, {}}
