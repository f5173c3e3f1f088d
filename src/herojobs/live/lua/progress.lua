-- Keeps how far claimed jobs are, and tells who listens.
-- ARGV: now, then for each job: id, token, progress as JSON (percent, text)
-- Returns: for each job 1 = kept, 0 = the claim was lost
local answer = {}
for i = 2, #ARGV, 3 do
  local id, key = ARGV[i], jobs .. ARGV[i]
  local kept = call('HGET', key, 'lt') == ARGV[i + 1]
  if kept then
    local inner = string.sub(ARGV[i + 2], 2, -2)
    call('HSET', key, 'pg', '{"at":' .. now .. ',' .. inner .. '}')
    tell('progress', id, ',' .. inner)
  end
  answer[#answer + 1] = kept and 1 or 0
end
publish()
return answer
