-- Notes a claim in the job's hash and in the answer: `old` has its fields job, sum, lt, st, at, db, cx.
local function take(answer, id, old, ours, token)
  local at = old[5] and tonumber(old[5]) + 1 or 1
  if old[4] == 'new' then
    call('HSET', jobs .. id, 'lt', token, 'at', at == 1 and '1' or word(at))
  else
    call('HSET', jobs .. id, 'lt', token, 'at', word(at), 'st', 'new')
  end
  local n = #answer + 1
  answer[n] = id
  if ours and not old[6] and not old[7] then
    answer[n + 1] = at
  else
    answer[n + 1] = {at, ours and 1 or 0, old[6], old[7], not ours and old[1]}
  end
end
