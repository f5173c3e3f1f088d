-- What scripts share; each gets what it uses (`script` in call.py). KEYS[1] = heroqueue:<q>, from which all other names
-- follow, so that a script touches one queue's keys only. ARGV[1] = the time as unix ms, 0 = the server's own.
local call = redis.call
local pcall = redis.pcall
local sha1hex = redis.sha1hex
local queue = KEYS[1]
local q = string.sub(queue, 11)
local jobs = 'herojobs:' .. q .. ':'
local lease = 'herolease:' .. q
local later = 'herolater:' .. q
local prio = 'heroprio:' .. q
local expire = 'heroexpire:' .. q
local slots = 'heroslots:' .. q
local rate = 'herorate:' .. q
local now = tonumber(ARGV[1])
if now == 0 then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Calls `command key ...` with all words of the list; Lua can't unpack more than some thousands at once.
local function each(command, key, list)
  for i = 1, #list, 1000 do
    call(command, key, unpack(list, i, math.min(i + 999, #list)))
  end
end

-- A number as a word. Redis prints a number in each command anew, which costs as much as a small command: so what goes to
-- many is made a word once, and constants are written as words.
local function word(number)
  return string.format('%.0f', number)
end

-- Leases ids until a time. A small sorted set is one flat string that each ZADD walks through, tens of microseconds
-- an id; a member longer than 64 bytes, there for a moment, has Redis keep the set as a skip list from then on.
local function lease_until(ends, ids)
  local long = #ids > 16 and string.rep('-', 65)
  if long then call('ZADD', lease, '0', long) end
  local words, at = {}, word(ends)
  for i, id in ipairs(ids) do
    words[2 * i - 1] = at
    words[2 * i] = id
  end
  each('ZADD', lease, words)
  if long then call('ZREM', lease, long) end
end

local find = string.find

-- An id as JSON. Those of ours are numbers, foreign ones any text.
local function shown(id)
  return find(id, '^[1-9]%d*$') and id or cjson.encode(id)
end

local channel, events, told, endings, heard = 'heroevents:' .. q, {}, 0, {}, nil

-- Whether somebody listens to the events. Asked once in calls with many jobs, where it costs less than writing lines for
-- nobody. In a cluster (names in braces) listeners may be connected to any node, so that all is told.
local function listened()
  if heard == nil then
    heard = true
    if #ARGV > 60 and string.byte(q) ~= 123 then
      local named, patterns = pcall('PUBSUB', 'NUMSUB', channel), pcall('PUBSUB', 'NUMPAT')
      heard = named[2] ~= 0 or patterns ~= 0
    end
  end
  return heard
end

-- Adds a line to the one event message of this call. The lines of one kind differ by their ids alone; what follows
-- these is made once.
local function tell(event, id, more)
  if not listened() then return end
  local kinds = endings[event]
  if not kinds then
    kinds = {}
    endings[event] = kinds
  end
  local rest = kinds[more or '']
  if not rest then
    rest = ',"event":"' .. event .. '","at":' .. word(now) .. (more or '') .. '}'
    kinds[more or ''] = rest
  end
  told = told + 1
  events[told] = '{"id":' .. shown(id) .. rest
end

local function publish()
  if told > 0 then call('PUBLISH', channel, table.concat(events, '\n')) end
end

-- Wakes a WatchDog that blocks on this queue. A few elements are enough for all: each wakes one, which looks
-- at everything; they expire so that a queue nobody waits for keeps none.
local function wake()
  local key = 'herowake:' .. q
  if call('LLEN', key) < 4 then
    call('RPUSH', key, '1')
    call('EXPIRE', key, '60')
  end
end

-- The place of an id among those of priority 1 to 9: higher ones first, then by id.
local function score(priority, id)
  return (9 - priority) * 4294967296 + (tonumber(id) or 0)
end

-- How many more starts are allowed now, if there may be so many in any window (ms); and when the next one is.
local function allowed_starts(starts, window)
  call('ZREMRANGEBYSCORE', rate, '-inf', now - window)
  local oldest = call('ZRANGE', rate, 0, 0, 'WITHSCORES')
  return starts - call('ZCARD', rate), oldest[2] and tonumber(oldest[2]) + window + 1 or 0
end

-- Notes starts that happen now, under names made of a token that was never there before.
local function note_starts(count, window, token)
  local words = {}
  for i = 1, count do
    words[#words + 1] = now
    words[#words + 1] = token .. ':' .. i
  end
  each('ZADD', rate, words)
  call('PEXPIRE', rate, window + 1)
end

-- The names of what is kept of a key by which jobs are limited: ids that run, ids that wait, the latest starts.
local function key_names(key)
  local of = q .. ':' .. key
  return 'herokey:' .. of, 'herokeyline:' .. of, 'herokeyrate:' .. of
end

-- Puts ids back at the head, in their order; those with a priority go to their place.
local function to_head(ids)
  local list = {}
  for i = #ids, 1, -1 do
    local priority = pcall('HGET', jobs .. ids[i], 'pr')
    if type(priority) == 'string' then
      call('ZADD', prio, score(priority, ids[i]), ids[i])
    else
      list[#list + 1] = ids[i]
    end
  end
  each('LPUSH', queue, list)
end

-- Takes an id out of wherever it waits; returns how often it was there.
local function unqueue(id)
  local found = call('ZREM', later, id) + call('ZREM', prio, id) + call('LREM', queue, 0, id)
  if call('ZREM', 'heroheld:' .. q, id) == 1 then found = found + call('UNLINK', 'herowait:' .. q .. ':' .. id) end
  return found
end

-- Puts an id where it belongs: scheduled if it is due later, by its priority, or at the tail.
local function enqueue(id, due, priority)
  if priority ~= '0' then call('HSET', jobs .. id, 'pr', priority) end
  if due > now then
    call('ZADD', later, due, id)
  elseif priority ~= '0' then
    call('ZADD', prio, score(priority, id), id)
  else
    call('RPUSH', queue, id)
  end
end

-- Notes the queue in the set of all, and tells the WatchDogs of a new one, whose wake-ups nobody waits for yet.
-- In a cluster (names in braces) the set lies elsewhere and is kept by the caller.
local function know()
  if string.byte(q) ~= 123 and call('SADD', 'herotopics', q) == 1 then
    call('PUBLISH', 'herocontrol:' .. q, '{"id":0,"what":"queue"}')
  end
end

-- Whether a foreign program put another job under this id and queued it: it set field `job` alone, so our `sum`
-- doesn't match any more. Its job then stays; ours has lost its place in Redis, not in OurDB.
local function displaced(id, job, sum)
  return sum and job and sum ~= sha1hex(job)
    and (call('ZSCORE', later, id) or call('LPOS', queue, id)) and true or false
end

-- Whether the job is over and ours wrote it last; a foreign rewrite of one that was over is a new job.
local function over(job, sum, status)
  return (status == 'done' or status == 'error') and sum and job and sum == sha1hex(job)
end

-- Records an id that can't be run, with the reason as JSON; see docs/redis.md.
local function bury(id, reason)
  local dead = 'herodead:' .. q
  call('LPUSH', dead, '{"id":' .. shown(id) .. ',"at":' .. now .. ',"reason":' .. reason .. '}')
  call('LTRIM', dead, 0, 999)
  tell('dead', id, ',"reason":' .. reason)
end
