-- clock: the server's time, and the time that stands in a checkpoint id.
--
-- LangGraph's ids begin with their time: a UUIDv6 (now) or a ULID (old data). The clock is the
-- server's, so that an age does not depend on the machine that asks.

local clock = {}

-- The largest difference of two clocks, the server's among them, that is met: an hour.
clock.LARGEST_DIFFERENCE_MS = 3600000

-- Milliseconds from 1582-10-15, where the time of a UUID begins, to 1970-01-01.
local UUID_EPOCH_MS = 12219292800000
local UUID_TICKS_PER_MS = 10000
local ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

local HEX4 = "%x%x%x%x"
local UUID6 = "^(" .. HEX4 .. HEX4 .. ")%-(" .. HEX4 .. ")%-6(%x%x%x)%-" .. HEX4 .. "%-"
  .. HEX4 .. HEX4 .. HEX4 .. "$"
local ULID = "^[0-7]" .. string.rep("[0-9A-HJKMNP-TV-Z]", 25) .. "$"

function clock.now_ms()
  local time = redis.call("TIME")
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function uuid6_ms(high, middle, low)
  local ticks = tonumber(high, 16) * 2 ^ 28 + tonumber(middle, 16) * 2 ^ 12 + tonumber(low, 16)
  return math.floor(ticks / UUID_TICKS_PER_MS) - UUID_EPOCH_MS
end

local function ulid_ms(id)
  local ms = 0
  for at = 1, 10 do
    ms = ms * 32 + string.find(ULID_DIGITS, string.sub(id, at, at), 1, true) - 1
  end
  return ms
end

-- Milliseconds since 1970 at which an id was made, and the kind of the id; nil when the id
-- does not say.
function clock.of_id(id)
  local high, middle, low = string.match(id, UUID6)
  if high then return uuid6_ms(high, middle, low), "uuid6" end
  if string.match(id, ULID) then return ulid_ms(id), "ulid" end
  return nil
end

-- The smallest id of a kind made at `ms`: ids of that kind that sort below it are older.
function clock.first_id(ms, kind)
  if kind == "uuid6" then
    local ticks = (ms + UUID_EPOCH_MS) * UUID_TICKS_PER_MS
    local high = math.floor(ticks / 2 ^ 28)
    local rest = ticks - high * 2 ^ 28
    local middle = math.floor(rest / 2 ^ 12)
    return string.format("%08x-%04x-6%03x", high, middle, rest - middle * 2 ^ 12)
  end
  local digits = {}
  for at = 10, 1, -1 do
    local digit = ms % 32
    digits[at] = string.sub(ULID_DIGITS, digit + 1, digit + 1)
    ms = (ms - digit) / 32
  end
  return table.concat(digits)
end

return clock
