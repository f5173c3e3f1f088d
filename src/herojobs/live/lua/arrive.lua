-- Tells jobs that wait that others are over.
-- ARGV: now, then in turn: id of the one that waits, reference of the one that is over, 1 = done or 0 = error
-- Returns: how many were released
local arrive, released = flows().arrive, 0
for i = 2, #ARGV, 3 do released = released + arrive(ARGV[i], ARGV[i + 1], ARGV[i + 2] == '1') end
publish()
return released
