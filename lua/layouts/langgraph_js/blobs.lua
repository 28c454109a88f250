-- blobs: the values of channels, kept once for each version.
--
-- Channels, as threads and namespaces, may contain colons: whose a blob is, its document says.

--@include layouts/langgraph/json_documents.lua

local blobs = {}

local PREFIX = "checkpoint_blob:"
local NAMESPACE, VERSIONS = '$["thread_id","checkpoint_ns"]', "$.checkpoint.channel_versions"
local ID, OWNER = "$.checkpoint_id", '$["thread_id","checkpoint_ns","checkpoint_id"]'
-- A name with so few colons has none in the thread, the namespace or the channel.
local ONE_READING = "^" .. PREFIX .. "([^:]*):([^:]*):([^:]*):[^:]*$"
-- What LangGraph's saver for Python has in keys where this one has nothing.
local ROOT_OF_OTHERS = "__empty__"
-- What a document says at OWNER.
local STATED = '^%["([^"\\]*)","([^"\\]*)","([^"\\]*)"%]$'
local LARGEST_EXACT = 2 ^ 53

-- A version as JavaScript writes it: whole numbers count in this format; nil for what is none, and
-- no text.
local function written(version)
  if type(version) == "string" then return version end
  if type(version) == "number" and version % 1 == 0 and math.abs(version) < LARGEST_EXACT then
    return string.format("%d", version)
  end
  return nil
end

-- The key of a channel's value in a version, nil where none can be named.
function blobs.key(thread, ns, channel, version)
  local text = written(version)
  return text and PREFIX .. thread .. ":" .. ns .. ":" .. channel .. ":" .. text
end

function blobs.is_blob(key)
  return string.sub(key, 1, #PREFIX) == PREFIX
end

-- Adds the blobs that a checkpoint's document names; false when it cannot be told which.
local function add_versions(named, thread, ns, versions)
  for channel, version in pairs(versions) do
    local key = blobs.key(thread, ns, channel, version)
    if not key then return false end
    named[key] = true
  end
  return true
end

-- A document that is none of a checkpoint names nothing.
function blobs.named(documents)
  local named, places, all_read = {}, {}, true
  json_documents.each_reply("", documents, NAMESPACE, function(key, reply)
    places[key] = reply and json_documents.decoded(reply)
  end)
  json_documents.each_reply("", documents, VERSIONS, function(key, reply)
    local place, found = places[key], reply and json_documents.decoded(reply)
    local versions = found and found[1]
    all_read = all_read and (not reply or found ~= nil)
    if not place or type(place[1]) ~= "string" or type(place[2]) ~= "string"
      or type(versions) ~= "table" then return end
    local ns = json_documents.read_ns(place[2])
    all_read = add_versions(named, place[1], ns, versions) and all_read
  end)
  return all_read and named or nil
end

-- The thread, the namespace and the id in what a document states, nil for what is none. Most are
-- texts without escapes.
local function read_owner(stated)
  if not stated then return nil end
  local thread, ns, id = string.match(stated, STATED)
  if not thread then
    thread, ns, id = unpack(json_documents.decoded(stated) or {})
    if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return nil end
  end
  return thread, json_documents.read_ns(ns), id
end

-- Of blobs whose names can be read in several ways the documents say whose they are.
local function each_stated(keys, visit)
  local thread_before, ns_before, start
  json_documents.each_reply("", keys, OWNER, function(key, stated)
    local thread, ns, id = read_owner(stated)
    if not thread then return end
    if thread ~= thread_before or ns ~= ns_before then
      thread_before, ns_before, start = thread, ns, PREFIX .. thread .. ":" .. ns .. ":"
    end
    if string.sub(key, 1, #start) == start then
      visit(key, thread, ns, id, string.match(key, "^(.*):", #start))
    end
  end)
end

-- Of the others they need to say only who has written them, which costs half. `places` has the
-- thread, the namespace and the channel of each.
local function each_plain(keys, places, visit)
  local at, ids = 0, {}
  json_documents.each_reply("", keys, ID, function(key, stated)
    at = at + 1
    local id = ids[stated]
    if id == nil and stated then
      id = string.match(stated, '^%["([^"\\]*)"%]$') or false
      ids[stated] = id
    end
    if id then
      local place = places[at]
      visit(key, place[1], place[2], id, place[3])
    end
  end)
end

-- The only thread, namespace and channel that the name of a blob can speak of, nil where there may
-- be others.
local function read_name(key)
  local thread, ns, channel = string.match(key, ONE_READING)
  local others = thread == ROOT_OF_OTHERS or ns == ROOT_OF_OTHERS or channel == ROOT_OF_OTHERS
  return thread and not others and { thread, ns, channel } or nil
end

-- Calls `visit(key, thread, ns, id, channel)` of each blob: whose it is, and which checkpoint has
-- written it last. Forks that come to the same version write it anew. Names are read quickest where
-- those of a channel follow each other.
function blobs.each_owner(keys, visit)
  local plain, places, count, others = {}, {}, 0, {}
  local before, place
  for at = 1, #keys do
    local key = keys[at]
    local start = string.match(key, "^.*:")
    if start ~= before then
      before, place = start, read_name(key)
    end
    if place then
      count = count + 1
      plain[count], places[count] = key, place
    else
      others[#others + 1] = key
    end
  end
  each_plain(plain, places, visit)
  each_stated(others, visit)
end

return blobs
