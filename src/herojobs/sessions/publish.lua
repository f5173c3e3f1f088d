-- Replaces what Redis knows of one home's keys, unless it knows that or newer.
-- KEYS: 1 herosessions, a hash: field <hash of a key>, value <book> <JSON of the session>; field book:<book>, value
--   generation
-- ARGV: 1 book, 2 generation, then field and value of each key
-- Returns 1 if it was replaced, 0 if not. Publishes the generation on channel herosessions.
local mine = 'book:' .. ARGV[1]
local known = redis.call('HGET', KEYS[1], mine)
if known and tonumber(known) >= tonumber(ARGV[2]) then
  return 0
end
local all = redis.call('HGETALL', KEYS[1])
local prefix = ARGV[1] .. ' '
for i = 1, #all, 2 do
  if string.sub(all[i + 1], 1, #prefix) == prefix then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[1], mine, ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1
