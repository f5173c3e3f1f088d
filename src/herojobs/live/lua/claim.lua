-- Takes jobs from the queue and leases them; first puts back what is due and whose lease ran out.
-- ARGV: now, most jobs to take, lease in ms, token, the time after which leases that have ended stay as they are (0 = none);
--       of a queue that has a limit also: jobs at once, starts in a window, the window in ms (0 = any number)
-- Returns: {now, when the next scheduled job or lease is due (0 = none), how many ids still wait,
--           the jobs, in turn id and which attempt it is; or id and {attempt, 1 = ours wrote it last, db, cx, its job
--           if ours didn't}, for those of which there is more to say;
--           the ids that were dropped}
-- What ours wrote is in OurDB too, where its claimer reads it anyway. A leased id without a hash comes back with an empty
-- job: its claimer looks for it elsewhere, and should the claimer die, the lease brings the id back.
-- Taking an id is the first write, and one that a server at its maxmemory allows: then the rest is allowed too.
local room, ends, token = tonumber(ARGV[2]), now + ARGV[3], ARGV[4]

-- A WatchDog that vanished costs its jobs an attempt only where a worker had begun them, which `start` has noted in
-- `st`. What it had merely claimed keeps its attempts, but for one in ten such claims (`ub`): a job that ends its
-- WatchDog before the note is out must not do so for ever.
local function spare_unbegun(ids)
  for _, id in ipairs(ids) do
    local key = jobs .. id
    local old = pcall('HMGET', key, 'st', 'at')
    if not old.err and old[1] == 'new' and old[2] and call('HINCRBY', key, 'ub', 1) % 10 ~= 0 then
      call('HSET', key, 'at', math.max(0, old[2] - 1))
    end
  end
end

local function sweep(set, event)
  local first = call('ZRANGE', set, '0', '0', 'WITHSCORES')
  if not first[1] or tonumber(first[2]) > now then return tonumber(first[2]) end
  local ids = call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, 1000)
  each('ZREM', set, ids)
  to_head(ids)
  if event then
    spare_unbegun(ids)
    for _, id in ipairs(ids) do tell(event, id) end
  end
  return tonumber(call('ZRANGE', set, '0', '0', 'WITHSCORES')[2])
end

local next_due, next_end, rescue_until = sweep(later), nil, tonumber(ARGV[5])
if rescue_until == 0 or now <= rescue_until then
  next_end = sweep(lease, 'lease_expired')
else
  local first = call('ZRANGE', lease, '0', '0', 'WITHSCORES')
  next_end = first[1] and math.max(tonumber(first[2]), now + 500)
end

-- At its limit the queue counts as empty: whoever ends one of its jobs, or the time, makes it worth a claim again.
local full, allowed_at = false, nil
local starts = ARGV[7] and tonumber(ARGV[7]) or 0
if ARGV[6] then
  local wanted, most = room, tonumber(ARGV[6])
  if most > 0 then room = math.min(room, most - call('ZCARD', lease)) end
  if starts > 0 then
    local allowed, at = allowed_starts(starts, tonumber(ARGV[8]))
    if allowed < room then room, allowed_at = allowed, at > 0 and at or nil end
  end
  room = math.max(room, 0)
  full = room < wanted
end

local ids, all = {}, word(room)
if room > 0 then
  local pairs_ = call('ZPOPMIN', prio, all)
  for i = 1, #pairs_, 2 do ids[#ids + 1] = pairs_[i] end
end
local waiting = 0
if #ids < room then
  local wanted = room - #ids
  local popped = pcall('LPOP', queue, #ids == 0 and all or word(wanted)) or {}
  if popped.err then
    -- A foreign key of another type in the queue's place must not stop a WatchDog's other queues.
    if not string.find(popped.err, 'WRONGTYPE', 1, true) then return popped end
    popped = {}
  end
  for _, id in ipairs(popped) do ids[#ids + 1] = id end
  if #popped == wanted then waiting = call('LLEN', queue) end
else
  waiting = call('LLEN', queue) + call('ZCARD', prio)
end

local taken, leased, dropped, seen = {}, {}, {}, {}
for _, id in ipairs(ids) do
  local key = jobs .. id
  local old = pcall('HMGET', key, 'job', 'sum', 'lt', 'st', 'at', 'db', 'cx')
  local job, sum = old[1], old[2]
  local ours = sum and job and sum == sha1hex(job)
  if old.err then
    bury(id, cjson.encode('the key ' .. key .. ' is no hash'))
  elseif seen[id] or ((not sum or (old[3] and old[3] ~= '')) and call('ZSCORE', lease, id)) then
    -- A job of ours that nobody's token holds has no lease: that isn't asked, it would cost more than all the rest.
    if sum and job and not ours then
      call('ZADD', later, now + 1000, id) -- a foreign job under the id of one that runs: its turn is after it
    else
      dropped[#dropped + 1] = id
    end
  elseif ours and (old[4] == 'done' or old[4] == 'error') then
    dropped[#dropped + 1] = id
  else
    seen[id] = true
    leased[#leased + 1] = id
    take(taken, id, old, ours, token)
  end
end
if #leased > 0 then
  lease_until(ends, leased)
  if starts > 0 then
    note_starts(#leased, tonumber(ARGV[8]), token)
    if full and not allowed_at then allowed_at = now + ARGV[8] + 1 end
  end
  if not next_end or ends < next_end then next_end = ends end
end
for _, id in ipairs(dropped) do tell('dropped', id) end
publish()
if full then waiting = 0 end
local due = math.min(next_due or math.huge, next_end or math.huge, allowed_at or math.huge)
return {now, due == math.huge and 0 or due, waiting, taken, dropped}
