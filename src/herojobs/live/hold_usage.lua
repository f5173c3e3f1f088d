-- Reserves what a request to a model may use, unless a limit of the day leaves no room for it beside the others.
-- KEYS: 1 heroai:<circle>:<day>, the sums of the day; 2 heroai:<circle>:held, a hash: field <request>, value
--   "<tokens> <cost> <until, unix ms>"
-- ARGV: 1 request, 2 tokens, 3 cost in millionths of a USD, 4 limit of tokens, 5 limit of cost; 0 = none; 6 ms that the
--   reservation lasts unless it is given back
-- Returns 1 if it is reserved, 0 if there is no room, and how many others have reserved something.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sums = redis.call('HMGET', KEYS[1], '*:input', '*:output', '*:cost')
local tokens = (tonumber(sums[1]) or 0) + (tonumber(sums[2]) or 0) + tonumber(ARGV[2])
local cost = (tonumber(sums[3]) or 0) + tonumber(ARGV[3])
local others = 0
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  local its_tokens, its_cost, its_end = string.match(held[i + 1], '^(%d+) (%d+) (%d+)$')
  if not its_end or tonumber(its_end) <= now then
    redis.call('HDEL', KEYS[2], held[i])
  elseif held[i] ~= ARGV[1] then
    others = others + 1
    tokens = tokens + tonumber(its_tokens)
    cost = cost + tonumber(its_cost)
  end
end
local most_tokens, most_cost = tonumber(ARGV[4]), tonumber(ARGV[5])
if (most_tokens > 0 and tokens > most_tokens) or (most_cost > 0 and cost > most_cost) then
  return {0, others}
end
redis.call('HSET', KEYS[2], ARGV[1], string.format('%s %s %d', ARGV[2], ARGV[3], now + tonumber(ARGV[6])))
redis.call('PEXPIRE', KEYS[2], 172800000)
return {1, others}
