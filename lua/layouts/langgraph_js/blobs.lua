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
local ROOT_OF_OTHERS = ":__empty__:"
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
  local named, places, fine = {}, {}, true
  json_documents.each_reply("", documents, NAMESPACE, function(key, reply)
    places[key] = reply and json_documents.decoded(reply)
  end)
  json_documents.each_reply("", documents, VERSIONS, function(key, reply)
    local place, found = places[key], reply and json_documents.decoded(reply)
    local versions = found and found[1]
    fine = fine and (not reply or found ~= nil)
    if not place or type(place[1]) ~= "string" or type(place[2]) ~= "string"
      or type(versions) ~= "table" then return end
    local ns = json_documents.read_ns(place[2])
    fine = add_versions(named, place[1], ns, versions) and fine
  end)
  return fine and named or nil
end

-- Of blobs whose names can be read in several ways the documents say whose they are.
local function each_stated(keys, visit)
  json_documents.each_reply("", keys, OWNER, function(key, reply)
    local stated = reply and json_documents.decoded(reply)
    if not stated or #stated ~= 3 then return end
    local thread, ns, id = unpack(stated)
    if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return end
    ns = json_documents.read_ns(ns)
    local start = PREFIX .. thread .. ":" .. ns .. ":"
    if string.sub(key, 1, #start) == start then
      visit(key, thread, ns, id, string.match(key, "^(.*):", #start))
    end
  end)
end

-- Of the others they need to say only who has written them, which costs half.
local function each_plain(keys, visit)
  json_documents.each_reply("", keys, ID, function(key, reply)
    local id = reply and string.match(reply, '^%["([^"\\]*)"%]$')
    if not id then return end
    local thread, ns, channel = string.match(key, ONE_READING)
    visit(key, thread, ns, id, channel)
  end)
end

-- Calls `visit(key, thread, ns, id, channel)` of each blob: whose it is, and which checkpoint has
-- written it last. Forks that come to the same version write it anew.
function blobs.each_owner(keys, visit)
  local plain, others = {}, {}
  for _, key in ipairs(keys) do
    local list = string.find(key, ONE_READING) and not string.find(key, ROOT_OF_OTHERS, 1, true)
      and plain or others
    list[#list + 1] = key
  end
  each_plain(plain, visit)
  each_stated(others, visit)
end

return blobs
