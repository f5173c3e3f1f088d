-- ARGV: now, id
-- Returns: what a leased job has said last of how far it is, as JSON; nil if nothing
local old = pcall('HMGET', jobs .. ARGV[2], 'pg', 'lt')
return not old.err and old[1] and old[2] and old[2] ~= '' and old[1] or false
