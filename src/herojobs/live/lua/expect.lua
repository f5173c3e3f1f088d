-- Notes on jobs that others wait for them.
-- ARGV: now, then in turn: id of the one that is waited for, reference of the one that waits
-- Returns: for each pair 1 = noted, 0 = it is over or unknown here: nothing was noted
local answer = {}
for i = 2, #ARGV, 2 do
  local id, key = ARGV[i], jobs .. ARGV[i]
  local old = pcall('HMGET', key, 'job', 'sum', 'st')
  if old.err or not old[1] or over(old[1], old[2], old[3]) then
    answer[#answer + 1] = 0
  else
    call('SADD', 'herokids:' .. q .. ':' .. id, ARGV[i + 1])
    call('HSET', key, 'kd', '1')
    answer[#answer + 1] = 1
  end
end
return answer
