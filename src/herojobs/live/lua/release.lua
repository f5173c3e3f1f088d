-- Lets jobs go that wait for others: to their queue, to be looked at again.
-- ARGV: now, milliseconds until then (0 = at once), then the ids
-- Returns: how many still waited
local waits, delay, released = flows(), tonumber(ARGV[2]), 0
for i = 3, #ARGV do
  local due = delay > 0 and call('ZSCORE', waits.held, ARGV[i])
  released = released + waits.release(ARGV[i], false, due and math.max(tonumber(due), now + delay))
end
publish()
return released
