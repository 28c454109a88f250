-- layout: one sorted set of serialized checkpoints a thread.
-- layouts/README.md says what each function answers.
--
--   {prefix}{thread}  zset  a member is a whole checkpoint, whatever its bytes say; its score is
--                           when it was made, in seconds since 1970
--
-- The sorted set is the thread's own index. Members may be large, and Redis does not tell scores
-- without them, so a member is read only where there is no other way.

--@include include/bytes.lua
--@include include/positions.lua

local layout = {}

-- Digits of a member's hash, in the name of one that shares its score with others.
local DIGITS = 8
-- Seconds of what may be shown as a time: some three thousand years.
local LARGEST_TIME = 1e11

local prefix

function layout.use(its_prefix) prefix = its_prefix end

local function key_of(thread) return prefix .. thread end

local function is_listing(key)
  return redis.call("TYPE", key).ok == "zset"
end

local counts = {}

function layout.listed(thread)
  local key = key_of(thread)
  counts[thread] = counts[thread] or is_listing(key) and redis.call("ZCARD", key) or 0
  return counts[thread]
end

layout.own = layout.listed

function layout.thread_of(key)
  if not bytes.starts(key, prefix) or not is_listing(key) then return nil end
  return string.sub(key, #prefix + 1)
end

function layout.has_task_id() return false end

function layout.latest_key() return nil end

function layout.existing(thread, _, ids)
  local exists, count = {}, layout.listed(thread)
  for _, id in ipairs(ids) do exists[id] = positions.of(id) < count end
  return exists
end

function layout.exists(thread, ns, id) return layout.existing(thread, ns, { id })[id] end

function layout.all_exist(thread, _, ids)
  return #ids == 0 or positions.of(ids[1]) < layout.listed(thread)
end

function layout.latest(thread)
  local count = layout.listed(thread)
  return count > 0 and positions.id(count - 1) or nil
end

function layout.latest_too() return {} end

-- The member at a position and its score, as text.
local function read(thread, id)
  local at = positions.of(id)
  local found = redis.call("ZRANGE", key_of(thread), at, at, "WITHSCORES")
  return found[1], found[2]
end

-- The position of the first member that is not older than `ms`.
local function first_at(thread, ms)
  local past = "(" .. string.format("%.17g", ms / 1000)
  return positions.id(redis.call("ZCOUNT", key_of(thread), "-inf", past))
end

function layout.put_at(thread, _, id)
  local _, score = read(thread, id)
  local seconds = tonumber(score)
  if not seconds then return nil end
  return seconds * 1000, function(ms) return first_at(thread, ms) end
end

function layout.waits() return false end

function layout.size(thread, id) return #(read(thread, id) or "") end

function layout.description(thread, _, id)
  local _, score = read(thread, id)
  local seconds = tonumber(score) or 0
  if math.abs(seconds) > LARGEST_TIME then return { "", "", "" } end
  return { "", "", string.format("%.0f", seconds * 1000) }
end

local function digest(member) return string.sub(redis.sha1hex(member), 1, DIGITS) end

-- Its score; with a part of its hash where others share that.
function layout.name(thread, id)
  local member, score = read(thread, id)
  if redis.call("ZCOUNT", key_of(thread), score, score) == 1 then return score end
  return score .. "#" .. digest(member)
end

function layout.named(thread, name)
  local key, ids = key_of(thread), {}
  local score, digits = string.match(name, "^(.*)#(%x+)$")
  score = score or name
  if not tonumber(score) or not is_listing(key) then return ids end
  for _, member in ipairs(redis.call("ZRANGEBYSCORE", key, score, score)) do
    if not digits or digest(member) == digits then
      ids[#ids + 1] = positions.id(redis.call("ZRANK", key, member))
    end
  end
  return ids
end

-- Each run of neighbours by one command, the newest first: what is older keeps its position.
function layout.delete(thread, ids)
  local key, last = key_of(thread), #ids
  while last > 0 do
    local first = last
    while first > 1 and positions.of(ids[first - 1]) == positions.of(ids[first]) - 1 do
      first = first - 1
    end
    redis.call("ZREMRANGEBYRANK", key, positions.of(ids[first]), positions.of(ids[last]))
    last = first - 1
  end
  counts[thread] = nil
  return #ids, #ids
end

function layout.stale() return {} end

function layout.unlist() end

return layout
