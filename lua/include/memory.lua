-- memory: what keys take, with MEMORY USAGE, which some servers and users do not have.

local memory = {}

-- Bytes that a call frees at most, unless one checkpoint or shared key alone has more: some 4 ms.
memory.MOST_FREED = 2 * 1024 * 1024

-- The bytes of a key, 0 when it is gone; nil where the server does not tell.
function memory.of(key)
  local reply = redis.pcall("MEMORY", "USAGE", key)
  if type(reply) == "table" then return nil end
  return reply or 0
end

-- The bytes of keys[first], …, keys[last] together; nil where the server does not tell.
function memory.of_all(keys, first, last)
  local total = 0
  for at = first, last do
    local bytes_used = memory.of(keys[at])
    if not bytes_used then return nil end
    total = total + bytes_used
  end
  return total
end

return memory
