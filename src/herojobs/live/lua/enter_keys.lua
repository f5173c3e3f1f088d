-- Looks whether claimed jobs may run within the limits of their keys; those that may not wait aside.
-- ARGV: now, token, jobs at once of a key, starts of it in a window (each 0 = any number), the window in ms,
--       then for each job: id, key
-- Returns: for each job 1 = it may run, 0 = it waits
-- Who runs is told by the leases: a member without one is over. A job that waits is scheduled for when its turn comes
-- by time; `leave_keys` brings it back sooner.
local token, most, starts, window = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local answer, LONGEST = {}, 31 * 86400
for i = 6, #ARGV, 2 do
  local id, key = ARGV[i], jobs .. ARGV[i]
  local members, line, began = key_names(ARGV[i + 1])
  local old = call('HMGET', key, 'lt', 'at', 'pr')
  local full, due = false, nil
  if most > 0 then
    local running = 0
    for _, other in ipairs(call('SMEMBERS', members)) do
      if other ~= id and not call('ZSCORE', lease, other) then
        call('SREM', members, other)
      elseif other ~= id then
        running = running + 1
      end
    end
    full = running >= most
  end
  if starts > 0 then
    call('ZREMRANGEBYSCORE', began, '-inf', now - window)
    if call('ZCARD', began) >= starts then
      full, due = true, tonumber(call('ZRANGE', began, 0, 0, 'WITHSCORES')[2]) + window + 1
    end
  end
  if old[1] ~= token or not full then
    call('SADD', members, id)
    call('EXPIRE', members, LONGEST)
    call('ZREM', line, id)
    if starts > 0 then
      call('ZADD', began, now, token .. ':' .. id)
      call('PEXPIRE', began, window + 1)
    end
    answer[#answer + 1] = 1
  else
    call('ZREM', lease, id)
    call('HSET', key, 'lt', '', 'st', 'new', 'at', math.max(0, (tonumber(old[2]) or 0) - 1))
    call('ZADD', line, score(tonumber(old[3]) or 0, id), id)
    call('EXPIRE', line, LONGEST)
    local place = call('ZRANK', line, id)
    due = due and due + math.floor(place / starts) * window or now + 10000 + place * 20
    call('ZADD', later, due, id)
    tell('put_back', id, ',"due":' .. string.format('%.0f', due))
    answer[#answer + 1] = 0
  end
end
publish()
return answer
