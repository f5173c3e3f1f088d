-- Marks claimed jobs as active.
-- ARGV: now, token, then for each job: id, job, sum
-- Returns: {ids that are lost, ids whose cancel was requested}
local token, lost, cancelled = ARGV[2], {}, {}
for i = 3, #ARGV, 3 do
  local id, key = ARGV[i], jobs .. ARGV[i]
  local old = call('HMGET', key, 'lt', 'cx', 'job', 'sum')
  if old[1] ~= token then
    lost[#lost + 1] = id
  else
    if not displaced(id, old[3], old[4]) then
      call('HSET', key, 'job', ARGV[i + 1], 'sum', ARGV[i + 2], 'st', 'active')
    end
    if old[2] then cancelled[#cancelled + 1] = id end
    tell('started', id)
  end
end
publish()
return {lost, cancelled}
