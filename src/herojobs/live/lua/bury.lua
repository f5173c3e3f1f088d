-- Gives up a claimed id that can't be resolved.
-- ARGV: now, id, token, reason as JSON
local id, key = ARGV[2], jobs .. ARGV[2]
local old = call('HMGET', key, 'lt', 'job')
if old[1] ~= ARGV[3] then return 0 end
call('ZREM', lease, id)
if old[2] then
  call('HSET', key, 'lt', '')
else
  call('UNLINK', key) -- it held nothing but our claim
end
bury(id, ARGV[4])
publish()
return 1
