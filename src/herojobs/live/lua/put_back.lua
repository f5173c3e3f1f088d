-- Gives claimed jobs back to the queue. Each goes to the head in turn, so that the last one given is the first there.
-- ARGV: now, 1 if the attempt counts or 0, what the event says, then for each: id, token, job, sum,
--       delay in ms (0 = to the head)       (job '' = leave it as it is)
-- Returns: for each job 1 = accepted, 0 = lost
local counts, event, answer, ids, delayed = ARGV[2] == '1', ARGV[3], {}, {}, {}
for i = 4, #ARGV, 5 do
  local id, key, delay = ARGV[i], jobs .. ARGV[i], tonumber(ARGV[i + 4])
  local was = call('HMGET', key, 'lt', 'job', 'sum', 'at')
  if was[1] ~= ARGV[i + 1] then
    answer[#answer + 1] = 0
  else
    answer[#answer + 1] = 1
    if call('ZREM', lease, id) == 0 then unqueue(id) end
    if displaced(id, was[2], was[3]) then
      call('HDEL', key, 'lt', 'sum', 'st', 'at', 'cx', 'x', 'db', 'pr')
    else
      if ARGV[i + 2] ~= '' then call('HSET', key, 'job', ARGV[i + 2], 'sum', ARGV[i + 3]) end
      local at = math.max(0, (tonumber(was[4]) or 0) - (counts and 0 or 1))
      call('HSET', key, 'st', 'new', 'lt', '', 'at', at)
      if delay > 0 then
        delayed[#delayed + 1] = now + delay
        delayed[#delayed + 1] = id
      else
        ids[#ids + 1] = id
      end
    end
    tell(event, id, delay > 0 and ',"due":' .. now + delay or nil)
  end
end
each('ZADD', later, delayed)
local head = {}
for i = #ids, 1, -1 do head[#head + 1] = ids[i] end
to_head(head)
if #ids > 0 then wake() end
publish()
return answer
