-- blobs: the values of channels, kept once for each version.
--
-- Channels, as threads and namespaces, may contain colons: whose a blob is, its document says.

--@include layouts/langgraph/json_documents.lua

local blobs = {}

local PREFIX = "checkpoint_blob:"
local NAMESPACE, VERSIONS = '$["thread_id","checkpoint_ns"]', "$.checkpoint.channel_versions"
local OWNER = '$["thread_id","checkpoint_ns","checkpoint_id"]'
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
local function add_named(named, thread, ns, versions)
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
    fine = add_named(named, place[1], ns, versions) and fine
  end)
  return fine and named or nil
end

-- The thread, namespace and id in a reply to OWNER, if the key begins like theirs.
local function read_owner(key, reply)
  local thread, ns, id = string.match(reply, '^%["([^"\\]*)","([^"\\]*)","([^"\\]*)"%]$')
  if not thread then
    local stated = json_documents.decoded(reply)
    if not stated or #stated ~= 3 then return nil end
    thread, ns, id = unpack(stated)
    if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return nil end
  end
  ns = json_documents.read_ns(ns)
  local start = PREFIX .. thread .. ":" .. ns .. ":"
  if string.sub(key, 1, #start) ~= start then return nil end
  -- What follows are the channel and the version: blobs of one channel are alike.
  return { thread, ns, id, string.match(key, "^(.*):", #start) }
end

-- Blobs are written anew by forks that come to the same version: they say who was the last.
function blobs.owners(keys)
  local owners = {}
  json_documents.each_reply("", keys, OWNER, function(key, reply)
    owners[key] = reply and read_owner(key, reply) or nil
  end)
  return owners
end

return blobs
