-- Gives slots of a circle back.
-- ARGV: now, how many of the first ones weren't used, the slots
local unused = tonumber(ARGV[2])
for i = 3, #ARGV do
  call('ZREM', slots, ARGV[i])
  if i - 2 <= unused then call('ZREM', rate, ARGV[i]) end
end
return 1
