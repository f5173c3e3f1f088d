-- with flows
-- Queues jobs whose parents are all over, as OurDB says.
-- ARGV: now, then the ids
-- Returns: how many still waited
local released = 0
for i = 2, #ARGV do released = released + release(ARGV[i], false) end
publish()
return released
