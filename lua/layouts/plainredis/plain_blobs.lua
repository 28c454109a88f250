-- plain_blobs: the values of channels, kept once for each version, and whose they are.
--
-- All is told by names here: whatever reading of a name is right, the same documents name the same
-- blobs.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/langgraph/saver_keys.lua
--@include layouts/plainredis/plain_documents.lua

local plain_blobs = {}

-- Checkpoints of a place that are read to see what was put of late, and in one call in all.
local MOST_OF_PLACE, MOST = 16, 32
-- What was put so long ago a look at the database has seen, the difference of clocks included.
local SEEN_AFTER_MS = 2 * clock.LARGEST_DIFFERENCE_MS
-- Colons of which a name is told apart.
local MOST_COLONS = 64

local find, sub = string.find, string.sub

local blob_start, checkpoint_start, index_start, threads, each_reading

function plain_blobs.use(prefix, its_each_reading)
  blob_start, checkpoint_start = prefix .. ":blob", prefix .. ":cp"
  index_start, threads, each_reading = prefix .. ":idx", prefix .. ":threads", its_each_reading
end

function plain_blobs.threads_key() return threads end

-- The thread and the namespace of a place ":{thread}:{ns}", nil when nothing is put there.
function plain_blobs.owner_of(place)
  local stated = redis.pcall("HGET", threads, index_start .. place)
  local fine, found = pcall(cjson.decode, stated)
  if not fine or type(found) ~= "table" then return nil end
  local thread, ns = found.thread, found.ns
  if type(thread) ~= "string" or type(ns) ~= "string" or ":" .. thread .. ":" .. ns ~= place then
    return nil
  end
  return thread, ns
end

-- The key of a blob, by a place with the channel and by the version.
function plain_blobs.key(suffix, version)
  return blob_start .. suffix .. ":" .. version
end

function plain_blobs.is_blob(key)
  return bytes.starts(key, blob_start .. ":")
end

-- Adds the blobs that a document names; false when it cannot be read.
local function add_named(named, document, place, value)
  local versions = plain_documents.versions(document)
  for channel, version in pairs(versions or {}) do
    local key = plain_blobs.key(place .. ":" .. channel, version)
    named[key] = named[key] or value
  end
  return versions ~= false
end

function plain_blobs.named(documents)
  local named, start = {}, checkpoint_start .. ":"
  for _, document in ipairs(documents) do
    local place = bytes.starts(document, start)
      and string.match(document, "^(:.*):[^:]*$", #checkpoint_start + 1)
    if place and not add_named(named, document, place, true) then return nil end
  end
  return named
end

-- What was put at places of late: a look at the database may have missed it. Answers a function
-- that says of a blob at a place which checkpoint names it, nil when none does. Where there may be
-- others that were put of late, it is one of these.
local function put_of_late()
  local left, known = MOST, {}

  local function read(place)
    local ids, named = redis.pcall("ZRANGE", index_start .. place, 0, MOST_OF_PLACE, "REV"), {}
    for at, id in ipairs(ids) do
      local made = clock.of_id(id)
      if at > MOST_OF_PLACE or left == 0 then
        local is_late = not made or clock.now_ms() - made < SEEN_AFTER_MS
        return named, is_late and id or nil
      end
      left = left - 1
      local document = checkpoint_start .. place .. ":" .. id
      if not add_named(named, document, place, id) then return {}, id end
    end
    return named, nil
  end

  return function(place, key)
    if not known[place] then
      local named, otherwise = read(place)
      known[place] = { named, otherwise }
    end
    return known[place][1][key] or known[place][2]
  end
end

-- The places of which a blob may be, where each is ":{thread}:{ns}", the channel and the version
-- follow. Those at which something is put come first, and there are none if that is unclear.
local function places_of(key)
  local rest, places, owned = sub(key, #blob_start + 1), {}, {}
  local second, last = find(rest, ":", 2, true), find(rest, ":[^:]*:[^:]*$") or 0
  local at = second and find(rest, ":", second + 1, true)
  while at and at <= last do
    if #places == MOST_COLONS then return {} end
    local place = sub(rest, 1, at - 1)
    places[#places + 1] = place
    if plain_blobs.owner_of(place) then owned[#owned + 1] = place end
    at = find(rest, ":", at + 1, true)
  end
  if #owned > 1 then return {} end
  return #owned == 1 and owned or places
end

-- Calls `visit(thread, ns)` for each that may be at a place: the one that has put there, if any.
local function each_at(place, visit)
  local thread, ns = plain_blobs.owner_of(place)
  if thread then visit(thread, ns) else each_reading(place, visit) end
end

-- Calls `visit(key, thread, ns, id, group)` of each blob: whose it is, and a checkpoint that names
-- it, false when none does. Where nothing is put at a place any more, a blob is whosever it can be.
function plain_blobs.each_owner(keys, visit)
  local named_by = put_of_late()
  for _, key in ipairs(keys) do
    local seen = {}
    for _, place in ipairs(places_of(key)) do
      local id = named_by(place, key)
      each_at(place, function(thread, ns)
        if not seen[thread] then
          seen[thread] = true
          visit(key, thread, ns, id or false, place)
        end
      end)
    end
  end
end

return plain_blobs
