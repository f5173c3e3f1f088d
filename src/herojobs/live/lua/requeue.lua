-- Queues jobs again that OurDB holds as new and that Redis seems to have lost.
-- ARGV: now, then for each job: id, job, sum, attempts, due (unix ms, 0 = at once), priority
-- Returns: {ids that were queued, {id, job} of those that are over}
-- Where a foreign program's job has the id, ours goes under another: 4294967295 - id, `db` pointing to its own.
local keys, list = {}, pcall('LRANGE', queue, 0, 4999)
if list.err then return list end
local start = 0
while #list > 0 do -- one pass over the list, not one for each id
  for _, id in ipairs(list) do keys[id] = true end
  start = start + #list
  list = #list == 5000 and call('LRANGE', queue, start, start + 4999) or {}
end
local function present(id)
  return keys[id] or call('ZSCORE', prio, id) or call('ZSCORE', later, id) or call('ZSCORE', lease, id)
    or call('ZSCORE', 'heroheld:' .. q, id)
end

local done, ended = {}, {}
local function put_in(id, i, number)
  local key = jobs .. id
  local old = pcall('HMGET', key, 'job', 'sum', 'st', 'db')
  if old.err then return false end
  if old[1] and (old[2] ~= sha1hex(old[1]) or (old[4] or id) ~= number) then return false end
  if present(id) then return true end
  if over(old[1], old[2], old[3]) then
    ended[#ended + 1] = {number, old[1]}
    return true
  end
  call('HSET', key, 'job', ARGV[i + 1], 'sum', ARGV[i + 2], 'st', 'new', 'lt', '', 'at', ARGV[i + 3])
  call('HDEL', key, 'pr')
  if id ~= number then call('HSET', key, 'db', number) end
  call('PERSIST', key)
  enqueue(id, tonumber(ARGV[i + 4]), ARGV[i + 5])
  keys[id] = true
  done[#done + 1] = number
  tell('requeued', id)
  return true
end

for i = 2, #ARGV, 6 do
  local id = ARGV[i]
  if not put_in(id, i, id) then put_in(string.format('%.0f', 4294967295 - id), i, id) end
end
if #done > 0 then
  know()
  wake()
end
publish()
return {done, ended}
