-- Takes slots of a circle, which jobs of all its topics share; the queue that is named is `<circle>:*`.
-- ARGV: now, slots wanted, jobs at once (0 = any number), starts in a window (0 = any number), the window in ms,
--       how long the slots last in ms, token
-- Returns: {slots that were granted, when the next start is allowed (0 = unknown)}; they are named <token>:1, 2 ...
local room, most, starts, window = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ends, token, due = now + ARGV[6], ARGV[7], 0
if most > 0 then
  call('ZREMRANGEBYSCORE', slots, '-inf', now)
  room = math.min(room, most - call('ZCARD', slots))
end
if starts > 0 then
  local allowed
  allowed, due = allowed_starts(starts, window)
  room = math.min(room, allowed)
end
room = math.max(room, 0)
if room == 0 then return {0, due} end
if most > 0 then
  local words = {}
  for i = 1, room do
    words[#words + 1] = ends
    words[#words + 1] = token .. ':' .. i
  end
  each('ZADD', slots, words)
end
if starts > 0 then note_starts(room, window, token) end
return {room, due}
