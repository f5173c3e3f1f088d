-- Removes waiting, prioritised, scheduled and held ids with their jobs, until enough of ours are found.
-- ARGV: now, most of ours to remove
-- Returns: {ids of ours as OurDB knows them, other ids}
local limit, ours, others, left = tonumber(ARGV[2]), {}, {}, 10000
local function remove(id)
  left = left - 1
  if call('ZSCORE', lease, id) then return end -- pushed twice: the one that runs keeps its job
  local key = jobs .. id
  local old = call('HMGET', key, 'job', 'sum', 'st', 'db', 'kd')
  if over(old[1], old[2], old[3]) then return end
  call('UNLINK', key)
  if old[1] and old[2] == sha1hex(old[1]) then
    ours[#ours + 1] = old[4] or id
  else
    others[#others + 1] = id
  end
  tell('removed', id, ',"status":"error"')
  if old[5] then flows().tell_kids(id, false) end
end
while #ours < limit and left > 0 do
  local n = math.min(limit - #ours, left)
  local ids = call('LPOP', queue, n) or {}
  if #ids == 0 then
    local pairs_ = call('ZPOPMIN', prio, n)
    if #pairs_ == 0 then pairs_ = call('ZPOPMIN', later, n) end
    if #pairs_ == 0 then
      pairs_ = call('ZPOPMIN', 'heroheld:' .. q, n)
      for i = 1, #pairs_, 2 do call('UNLINK', 'herowait:' .. q .. ':' .. pairs_[i]) end
    end
    for i = 1, #pairs_, 2 do ids[#ids + 1] = pairs_[i] end
  end
  if #ids == 0 then break end
  for _, id in ipairs(ids) do remove(id) end
end
publish()
return {ours, others}
