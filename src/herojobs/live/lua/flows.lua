-- Put behind the prelude of scripts that end jobs or release those that wait for others (`-- with flows`). A job that
-- waits is in `heroheld`, by when it is due; `herowait:<q>:<id>` has the parents that aren't over, with what becomes of
-- it should one fail. Field `kd` of a parent says that `herokids:<q>:<id>` lists who waits for it.
-- In a function, so that scripts pay for it only when some job has to do with it.
local function flows()
  local held = 'heroheld:' .. q

  -- Queues a job that waited: when it is due or, if that is given, at another time; at once if it is doomed by a parent's
  -- failure, which whoever claims it will find.
  local function release(id, doomed, at)
    local due = call('ZSCORE', held, id)
    call('UNLINK', 'herowait:' .. q .. ':' .. id)
    if not due then return 0 end
    call('ZREM', held, id)
    local priority = call('HGET', jobs .. id, 'pr') or '0'
    enqueue(id, doomed and 0 or at or tonumber(due), priority)
    tell('released', id)
    wake()
    return 1
  end

  -- Notes for a job that waits that one of its parents is over; told twice, the second time does nothing.
  local function arrive(id, parent, ok)
    local waits = 'herowait:' .. q .. ':' .. id
    local policy = call('HGET', waits, parent)
    if not policy then return 0 end
    call('HDEL', waits, parent)
    local doomed = not ok and policy ~= 'run'
    if doomed or call('EXISTS', waits) == 0 then return release(id, doomed) end
    return 0
  end

  -- Tells those who wait for a job that it is over. For those of other queues it leaves mail, which a WatchDog delivers.
  local function tell_kids(id, ok)
    local key = 'herokids:' .. q .. ':' .. id
    local here = string.gsub(string.gsub(q, '[{}]', ''), ':', '/')
    local me, mail = here .. '/' .. id, {}
    for _, kid in ipairs(call('SMEMBERS', key)) do
      local place, number = string.match(kid, '^(.*)/([^/]*)$')
      if place == here then
        arrive(number, me, ok)
      else
        mail[#mail + 1] = kid .. ' ' .. me .. ' ' .. (ok and '1' or '0')
      end
    end
    call('UNLINK', key)
    if #mail > 0 then
      each('SADD', 'heromail:' .. q, mail)
      call('PUBLISH', 'herocontrol:' .. q, '{"id":0,"what":"mail"}')
    end
  end

  return {held = held, release = release, arrive = arrive, tell_kids = tell_kids}
end
