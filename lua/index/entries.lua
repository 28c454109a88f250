-- Reads the indexes of several threads. Writes nothing.
--
-- KEYS     zset    indexes of threads (include/entry.lua)
--
-- ARGV[1]  entries to read of each at most
-- ARGV[2]  entries after which the rest of KEYS is left to another call
--
-- Reply    {{entry…}…}, one for each of KEYS, as far as it came: at least the first. For one that
--          the server refuses to read, what the server says
--
-- It touches no other keys.

local entries_each, entries_in_all = tonumber(ARGV[1]), tonumber(ARGV[2])

local reply, total = {}, 0
for at, key in ipairs(KEYS) do
  if total >= entries_in_all then break end
  local entries = redis.pcall("ZRANGE", key, 0, entries_each - 1)
  reply[at] = entries.err or entries
  total = total + (entries.err and 1 or #entries)
end
return reply
