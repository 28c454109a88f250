-- go_listings: langgraphgo's own indexes, which name the checkpoints of a thread or an execution.
--
-- A sorted set has them by version. A set, of older versions, says nothing of their order: then
-- each document is asked.

--@include include/bytes.lua
--@include layouts/langgraphgo/go_documents.lua

local go_listings = {}

local PAST = ":checkpoints"
-- Names of a sorted set that are read at a time.
local PAGE = 64

local starts

function go_listings.use(prefix)
  starts = { thread = prefix .. "thread:", execution = prefix .. "execution:" }
end

local function key_of(way, name) return starts[way] .. name .. PAST end

local types = {}

local function type_of(key)
  types[key] = types[key] or redis.call("TYPE", key).ok
  return types[key]
end

-- The thread or execution of the key of a list, nil for any other key.
function go_listings.thread_of(key)
  for _, start in pairs(starts) do
    if bytes.starts(key, start) and string.sub(key, -#PAST) == PAST and #key >= #start + #PAST then
      local kind = type_of(key)
      return (kind == "zset" or kind == "set") and string.sub(key, #start + 1, -#PAST - 1) or nil
    end
  end
  return nil
end

-- Whether the list of a thread or an execution names a checkpoint.
function go_listings.has(way, name, id)
  local key = key_of(way, name)
  local kind = type_of(key)
  if kind == "zset" then return redis.call("ZSCORE", key, id) ~= false end
  return kind == "set" and redis.call("SISMEMBER", key, id) == 1
end

-- Whether the list itself says the order of its checkpoints.
function go_listings.is_ordered(way, name) return type_of(key_of(way, name)) == "zset" end

-- Takes a checkpoint off a list.
function go_listings.remove(way, name, id)
  local key = key_of(way, name)
  local kind = type_of(key)
  if kind == "zset" then redis.call("ZREM", key, id)
  elseif kind == "set" then redis.call("SREM", key, id) end
end

-- A sorted set alone, of which pages are read as they are asked for.
local function sorted(key)
  local self, pages = { count = redis.call("ZCARD", key) }, {}

  function self.id(at)
    local page = math.floor(at / PAGE)
    if not pages[page] then
      pages[page] = redis.call("ZRANGE", key, page * PAGE, page * PAGE + PAGE - 1)
    end
    return pages[page][at - page * PAGE + 1]
  end

  function self.position(id)
    return redis.call("ZRANK", key, id) or nil
  end

  return self
end

-- Adds what a key lists: {[id] = version}.
local function add_listed(versions, key)
  local kind = type_of(key)
  if kind == "zset" then
    local found = redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
    for at = 1, #found, 2 do versions[found[at]] = tonumber(found[at + 1]) end
  elseif kind == "set" then
    for _, id in ipairs(redis.call("SMEMBERS", key)) do
      local document = go_documents.read(id)
      versions[id] = document and document.version or -math.huge
    end
  end
end

-- What several keys list, or a set.
local function merged(keys)
  local versions, ids = {}, {}
  for _, key in ipairs(keys) do add_listed(versions, key) end
  for id in pairs(versions) do ids[#ids + 1] = id end
  table.sort(ids, function(a, b)
    if versions[a] ~= versions[b] then return versions[a] < versions[b] end
    return bytes.less(a, b)
  end)
  local self = { count = #ids, is_merged = true }

  function self.id(at) return ids[at + 1] end

  function self.position(id)
    for at, known in ipairs(ids) do
      if known == id then return at - 1 end
    end
    return nil
  end

  return self
end

-- All that is listed under a name, as a thread and as an execution, the oldest first:
--   count         how many
--   id(at)        the id at a position, counted from 0; nil past the end
--   position(id)  where an id is, nil when it is not listed
--   is_merged     it is not one sorted set as it stands
function go_listings.read(name)
  local keys = {}
  for way in pairs(starts) do
    local key = key_of(way, name)
    local kind = type_of(key)
    if kind == "zset" or kind == "set" then keys[#keys + 1] = key end
  end
  if #keys == 1 and type_of(keys[1]) == "zset" then return sorted(keys[1]) end
  return merged(keys)
end

return go_listings
