-- Has claimed jobs wait for others; their attempt doesn't count.
-- ARGV: now, then for each job: id, token, due (unix ms), number of parents, and for each of these: reference, what
--       becomes of the job if it fails (run, cancel, fail)
-- Returns: for each job 1 = it waits, 0 = the claim was lost
local answer, i = {}, 2
while i <= #ARGV do
  local id, key, count = ARGV[i], jobs .. ARGV[i], tonumber(ARGV[i + 3])
  local was = call('HMGET', key, 'lt', 'at')
  if was[1] ~= ARGV[i + 1] then
    answer[#answer + 1] = 0
  else
    answer[#answer + 1] = 1
    if call('ZREM', lease, id) == 0 then unqueue(id) end
    local waits = 'herowait:' .. q .. ':' .. id
    call('UNLINK', waits)
    for j = i + 4, i + 3 + 2 * count, 1000 do
      call('HSET', waits, unpack(ARGV, j, math.min(j + 999, i + 3 + 2 * count)))
    end
    call('ZADD', 'heroheld:' .. q, ARGV[i + 2], id)
    call('HSET', key, 'st', 'new', 'lt', '', 'at', math.max(0, (tonumber(was[2]) or 0) - 1))
    tell('held', id)
  end
  i = i + 4 + 2 * count
end
publish()
return answer
