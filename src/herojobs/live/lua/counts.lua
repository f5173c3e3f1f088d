-- ARGV: now
-- Returns: how many ids {wait, wait with a priority, are scheduled, are leased, wait for other jobs}; a key of a wrong type counts as empty
local function count(command, key)
  local n = pcall(command, key)
  return type(n) == 'number' and n or 0
end
return {count('LLEN', queue), count('ZCARD', prio), count('ZCARD', later), count('ZCARD', lease),
  count('ZCARD', 'heroheld:' .. q)}
