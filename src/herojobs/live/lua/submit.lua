-- Stores and queues jobs. An id whose hash exists already is left alone and returned.
-- ARGV: now, then for each job: id, job, sum, due (unix ms, 0 = at once), priority (0 to 9), x ('' = none)
-- Returns: for each id that exists {id, its job, its sum}
local keys = {}
for i = 2, #ARGV, 6 do keys[#keys + 1] = jobs .. ARGV[i] end
local fresh = true
for i = 1, #keys, 1000 do
  fresh = fresh and call('EXISTS', unpack(keys, i, math.min(i + 999, #keys))) == 0
end
local tail, existing = {}, {}
for i = 2, #ARGV, 6 do
  local id, key = ARGV[i], jobs .. ARGV[i]
  local old = not fresh and pcall('HMGET', key, 'job', 'sum')
  if old and (old.err or old[1]) then
    existing[#existing + 1] = {id, old[1] or '', old[2] or ''}
  else
    call('HSET', key, 'job', ARGV[i + 1], 'sum', ARGV[i + 2], 'st', 'new')
    if ARGV[i + 5] ~= '' then call('HSET', key, 'x', ARGV[i + 5]) end
    local due, priority = tonumber(ARGV[i + 3]), ARGV[i + 4]
    if priority ~= '0' then call('HSET', key, 'pr', priority) end
    if due > now then
      call('ZADD', later, due, id)
      tell('scheduled', id, ',"due":' .. ARGV[i + 3])
    elseif priority ~= '0' then
      call('ZADD', prio, score(priority, id), id)
      tell('submitted', id)
    else
      tail[#tail + 1] = id
      tell('submitted', id)
    end
  end
end
each('RPUSH', queue, tail)
know()
if #existing * 6 < #ARGV - 1 then wake() end
publish()
return existing
