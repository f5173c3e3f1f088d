-- Makes slots of a circle last.
-- ARGV: now, how long in ms, 1 = also those that aren't there (Redis forgot them) or 0, the slots
local words = {}
for i = 4, #ARGV do
  words[#words + 1] = now + ARGV[2]
  words[#words + 1] = ARGV[i]
end
for i = 1, #words, 1000 do
  local last = math.min(i + 999, #words)
  if ARGV[3] == '1' then
    call('ZADD', slots, unpack(words, i, last))
  else
    call('ZADD', slots, 'XX', unpack(words, i, last))
  end
end
return 1
