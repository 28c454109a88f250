-- plain_documents: reads the strings of langgraph-checkpoint-plainredis.
--
-- Each is a JSON object of a type and of bytes in base64. Of a checkpoint these are msgpack:
-- {checkpoint = {…, channel_versions}, metadata, parent_id}. Another serializer's cannot be read.

--@include layouts/plainredis/msgpack.lua

local plain_documents = {}

local START, PAST = '{"t": "msgpack", "d": "', '"}'
local EMPTY = '{"t": "empty"'
-- What is longer is not read: to decode a kilobyte takes some 0.1 ms.
local LONGEST = 65536
-- Characters of the end of a document that hold its last field, the parent.
local TAIL = 68
-- The field, without a value and with a UUID. No text has such bytes in it.
local NO_PARENT, PARENT = "\169parent_id\192$", "\169parent_id\217%$(" .. string.rep("%x", 8)
  .. "%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-" .. string.rep("%x", 12) .. ")$"

local sub = string.sub

-- The string at a key from its beginning, nil where there is none.
local function text_at(key, last)
  local text = redis.pcall("GETRANGE", key, 0, last)
  return type(text) == "string" and text ~= "" and text or nil
end

-- The parent of a checkpoint by the end of its document, "" without one; nil where that does not
-- say it.
function plain_documents.plain_parent(key)
  if text_at(key, #START - 1) ~= START then return nil end
  local tail = redis.call("GETRANGE", key, -TAIL - #PAST, -1)
  if sub(tail, -#PAST) ~= PAST or #tail < TAIL + #PAST then return nil end
  local fine, decoded = pcall(msgpack.decoded, sub(tail, 1, TAIL))
  if not fine then return nil end
  return string.find(decoded, NO_PARENT) and "" or string.match(decoded, PARENT)
end

-- The names of a map, with what `read` makes of the values.
local function map_at(reader, at, read)
  local found = {}
  local is_map = at and reader.each(at, function(name, its) found[name] = read(its) end)
  return is_map and found or nil
end

-- What `read(reader)` answers of the document at a key; nil without one, false when it cannot be
-- read. Of a longer one only the beginning is read.
local function reading(key, read)
  local text = text_at(key, LONGEST)
  if not text then return nil end
  if sub(text, 1, #START) ~= START then return false end
  local last = sub(text, -#PAST) == PAST and -1 - #PAST or -1 - (#text - #START) % 4
  local fine, found = pcall(read, msgpack.reader(sub(text, #START + 1, last)))
  return fine and found
end

-- What the header of a checkpoint needs: {parent =, v =, source =, step =, metadata = {parents =,
-- counters_since_delta_snapshot =}}; nil without a document, false when it cannot be read.
function plain_documents.read(key)
  return reading(key, function(reader)
    local function positions_in(at) return map_at(reader, at, function(its) return its end) end
    local function value(at) return at and reader.value(at) end
    local whole = positions_in(1)
    local checkpoint, metadata = positions_in(whole.checkpoint), positions_in(whole.metadata)
    return {
      parent = value(whole.parent_id) or "", v = value(checkpoint.v),
      source = value(metadata.source), step = value(metadata.step),
      metadata = {
        parents = map_at(reader, metadata.parents, reader.value),
        counters_since_delta_snapshot =
          map_at(reader, metadata.counters_since_delta_snapshot, function() return true end),
      },
    }
  end)
end

-- The version of each channel at a checkpoint, as it stands in keys; nil without a document, false
-- when it cannot be read.
function plain_documents.versions(key)
  return reading(key, function(reader)
    local readable = true
    local versions = map_at(reader, reader.find(1, "checkpoint", "channel_versions"), function(at)
      local version = reader.value(at)
      if type(version) == "number" then version = string.format("%.0f", version) end
      readable = readable and version ~= nil
      return version
    end)
    return readable and versions or false
  end)
end

-- Whether there is a value in a blob.
function plain_documents.has_value(blob)
  local text = text_at(blob, #EMPTY - 1)
  return text ~= nil and text ~= EMPTY
end

-- Whether the value in a blob is an empty list or an empty set, as msgpack has them.
local NONE = { [START .. "kA==" .. PAST] = true,
  [START .. "xw8Ak6hidWlsdGluc6NzZXSQ" .. PAST] = true }

function plain_documents.is_empty_list(blob)
  return NONE[text_at(blob, 64)] ~= nil
end

return plain_documents
