-- memory: what keys take, with MEMORY USAGE, which some servers and users do not have.

local memory = {}

-- Bytes that a call frees at most, unless one checkpoint or shared key alone has more: some 4 ms.
memory.MOST_FREED = 2 * 1024 * 1024

-- After so many bytes, or so many things, one more is measured.
local SAMPLED, MOST_UNMEASURED = memory.MOST_FREED / 2, 32

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

-- Estimates the memory of one thing after the other, where all are much alike. To measure one costs
-- nearly as much as to free it, so few are. `measure` answers what one takes, nil where the server
-- does not tell; `mean` is what an earlier call has found, nil for nothing, negative where the
-- server does not tell. Answers a function, called like `measure`, of the estimate, 0 where the
-- server does not tell; and one of the mean.
function memory.sampler(measure, mean)
  local since, counted, taken = SAMPLED, 0, 0

  local function use(measured)
    mean, since, taken = measured, 0, math.max(measured, 0)
    counted = measured < 0 and 0 or math.max(measured, SAMPLED / MOST_UNMEASURED)
  end

  if mean then use(mean) end
  return function(thing, parts, count)
    if since >= SAMPLED then use(measure(thing, parts, count) or -1) end
    since = since + counted
    return taken
  end, function() return mean end
end

return memory
