-- Moves the ends of leases.
-- ARGV: now, lease in ms, then for each job: id, token
-- Returns: {ids that are lost, ids whose cancel was requested, ids without a hash (Redis was wiped: restore)}
local ends, lost, cancelled, missing = now + ARGV[2], {}, {}, {}
local ids = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local old = call('HMGET', jobs .. id, 'lt', 'cx')
  if old[1] == ARGV[i + 1] then
    ids[#ids + 1] = id
    if old[2] then cancelled[#cancelled + 1] = id end
  elseif old[1] or call('EXISTS', jobs .. id) == 1 then
    lost[#lost + 1] = id
  else
    missing[#missing + 1] = id
  end
end
-- A lease that ran out and whose id went back, but that no other has taken yet, is simply taken up again.
local before = #ids > 0 and call('ZCARD', lease)
lease_until(ends, ids)
if before and call('ZCARD', lease) > before then
  for _, id in ipairs(ids) do unqueue(id) end
end
return {lost, cancelled, missing}
