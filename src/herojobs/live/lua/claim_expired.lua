-- Takes waiting jobs whose time to start is over, wherever they wait, and leases them to who ends them.
-- ARGV: now, most jobs to take, lease in ms, token
-- Returns: as claim; it says that ids still wait, since it doesn't know
local ends, token, taken, leased = now + ARGV[3], ARGV[4], {}, {}
local ids = call('ZRANGEBYSCORE', expire, '-inf', now, 'LIMIT', 0, ARGV[2])
each('ZREM', expire, ids)
for _, id in ipairs(ids) do
  local old = call('HMGET', jobs .. id, 'job', 'sum', 'lt', 'st', 'at', 'db', 'cx')
  local ours = old[1] and old[2] and old[2] == sha1hex(old[1])
  if call('ZSCORE', lease, id) then
    -- Perhaps sent to a worker and not begun: it may come back.
    if old[4] == 'new' then call('ZADD', expire, now + 1000, id) end
  elseif old[1] and not (ours and (old[4] == 'done' or old[4] == 'error')) and unqueue(id) > 0 then
    leased[#leased + 1] = id
    take(taken, id, old, ours, token)
  end
end
lease_until(ends, leased)
return {now, #taken > 0 and ends or 0, 1, taken, {}}
