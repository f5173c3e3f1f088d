-- Makes slots of a circle last, also when Redis has forgotten them.
-- ARGV: now, how long in ms, the slots
local words = {}
for i = 3, #ARGV do
  words[#words + 1] = now + ARGV[2]
  words[#words + 1] = ARGV[i]
end
each('ZADD', slots, words)
return 1
