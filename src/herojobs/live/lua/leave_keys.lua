-- Has the next jobs of keys take the places of those that are over.
-- ARGV: now, then for each job that is over: id, key
local ids = {}
for i = 2, #ARGV, 2 do
  local members, line = key_names(ARGV[i + 1])
  call('SREM', members, ARGV[i])
  local following = call('ZPOPMIN', line)[1]
  while following do
    if call('ZREM', later, following) == 1 then -- else it was cancelled, say
      ids[#ids + 1] = following
      break
    end
    following = call('ZPOPMIN', line)[1]
  end
end
if #ids > 0 then
  to_head(ids)
  wake()
end
return #ids
