-- Stores and queues jobs. An id whose hash exists already is left alone and returned.
-- ARGV: now, 3 or 6, then for each job so many words: id, job, sum, and if there are six: due (unix ms, 0 = at once),
--       priority (0 to 9), x ('' = none)
-- Returns: for each id that exists {id, its job, its sum}
local argv, words = ARGV, tonumber(ARGV[2])
local keys, n = {}, 0
for i = 3, #argv, words do
  n = n + 1
  keys[n] = jobs .. argv[i]
end
local fresh = true
for i = 1, n, 1000 do
  fresh = fresh and call('EXISTS', unpack(keys, i, math.min(i + 999, n))) == 0
end
local tail, existing = {}, {}
local waiting = 0
for k = 1, n do
  local key, i = keys[k], 3 + (k - 1) * words
  local id = argv[i]
  local old = not fresh and pcall('HMGET', key, 'job', 'sum')
  if old and (old.err or old[1]) then
    existing[#existing + 1] = {id, old[1] or '', old[2] or ''}
  else
    call('HSET', key, 'job', argv[i + 1], 'sum', argv[i + 2], 'st', 'new')
    local due, priority = 0, '0'
    if words == 6 then
      due, priority = tonumber(argv[i + 3]), argv[i + 4]
      if argv[i + 5] ~= '' then call('HSET', key, 'x', argv[i + 5]) end
      if priority ~= '0' then call('HSET', key, 'pr', priority) end
    end
    if due > now then
      call('ZADD', later, due, id)
      tell('scheduled', id, ',"due":' .. argv[i + 3])
    elseif priority ~= '0' then
      call('ZADD', prio, score(priority, id), id)
      tell('submitted', id)
    else
      waiting = waiting + 1
      tail[waiting] = id
      tell('submitted', id)
    end
  end
end
each('RPUSH', queue, tail)
know()
if #existing < n then wake() end
publish()
return existing
