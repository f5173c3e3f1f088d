-- Puts running jobs back after Redis was wiped: hash and lease, unless somebody else has them by now.
-- ARGV: now, lease in ms, then for each job: id, token, job, sum, attempts, status
-- Returns: for each job 1 = it is leased to its token, 0 = another has it, or it is over
local ends, answer = now + ARGV[2], {}
for i = 3, #ARGV, 6 do
  local id, key, token = ARGV[i], jobs .. ARGV[i], ARGV[i + 1]
  local old = call('HMGET', key, 'job', 'sum', 'st', 'lt')
  local unheld = not old[4] or old[4] == ''
  local same = not old[1] or (old[2] == sha1hex(old[1]) and not over(old[1], old[2], old[3]))
  if old[4] == token or (unheld and same) then
    unqueue(id) -- reconciliation may have been faster
    if old[4] ~= token then
      call('HSET', key, 'job', ARGV[i + 2], 'sum', ARGV[i + 3], 'st', ARGV[i + 5], 'lt', token, 'at',
        ARGV[i + 4])
      tell('restored', id)
    end
    call('ZADD', lease, ends, id)
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
know()
publish()
return answer
