-- layout: what the keys of LangGraph.js' saver mean (`RedisSaver` of the npm package
-- @langchain/langgraph-checkpoint-redis). layouts/README.md says what each function answers.
--
--   checkpoint:{thread}:{ns}:{id}                 JSON  one checkpoint
--   checkpoint_blob:{thread}:{ns}:{channel}:{v}   JSON  the value that a channel had in a version
--   checkpoint_write:{thread}:{ns}:{id}:{task}:{idx}
--                                                 JSON  one pending write of one task
--   write_keys_zset:{thread}:{ns}:{id}            zset  names of that checkpoint's write keys
--   checkpoint:{thread}:{ns}:shallow              JSON  the one checkpoint of a shallow saver
--
-- The root namespace is empty in keys. A checkpoint's document has the values of the channels that
-- its step has written; `put` has written each of these as a blob before it. All others are read
-- from the blobs that `channel_versions` names, and so are they by a fork of that checkpoint.
-- There is no latest pointer: what has the greatest id is the newest. `put_writes` reads a document
-- and writes it back whole, also when it has been deleted in between: it makes no stubs.

--@include include/bytes.lua
--@include layouts/langgraph/saver_keys.lua
--@include layouts/langgraph/json_documents.lua
--@include layouts/langgraph/checkpoint_headers.lua
--@include layouts/langgraph/saver_layout.lua
--@include layouts/langgraph_js/blobs.lua

local ROOT, ROOT_OF_OTHERS = "", "__empty__"
-- The metadata of a checkpoint says so when channels without a version have never been written.
local VERSIONED = "delta_writes_versioned"
local VERSIONS = "$.checkpoint.channel_versions"

local read = json_documents.read

local keys = saver_keys.new(ROOT, ROOT_OF_OTHERS)

-- What is known of the values of a checkpoint's channels.
local function channels_at(thread, ns, id)
  local key = keys.checkpoint_key(thread, ns, id)
  local values = read(key, { VERSIONS, "$.metadata." .. VERSIONED }) or {}
  local versions = type(values[1]) == "table" and values[1] or {}
  local here = json_documents.names_at(key, "$.checkpoint.channel_values")
  return {
    here = setmetatable(here, { __index = function(_, name)
      local blob = blobs.key(thread, ns, name, versions[name])
      return blob ~= nil and redis.call("EXISTS", blob) == 1
    end }),
    unwritten = function(name) return values[2] == true and versions[name] == nil end,
  }
end

-- LangGraph's saver for Python packs the value of a write into a text called blob.
local function is_own_write(key)
  return not json_documents.names_at(key, "$").blob
end

-- Only names of root checkpoints tell the two savers apart: a registry of a subgraph may be
-- Python's, whose checkpoint is still to come.
local function can_own_registry(suffix)
  local place = keys.split_suffix(suffix)
  return place ~= nil and keys.is_root(place)
end

-- Where a root checkpoint has the values of its channels: in its document, or in blobs.
local function values(thread, id)
  local key = keys.checkpoint_key(thread, "", id)
  local found, versions = saver_layout.values_in_document(key), read(key, { VERSIONS })
  for channel, version in pairs(versions and type(versions[1]) == "table" and versions[1] or {}) do
    local blob = not found[channel] and blobs.key(thread, "", channel, version)
    if blob and redis.call("EXISTS", blob) == 1 then found[channel] = { blob, "$.value" } end
  end
  return found
end

local headers = checkpoint_headers.new(keys, checkpoint_headers.METADATA_AS_OBJECT, channels_at)
local layout = saver_layout.new(keys, headers,
  { channels_at = channels_at, values = values, is_own_write = is_own_write,
    can_own_registry = can_own_registry })

local families_of_checkpoints = layout.families

function layout.families(key)
  if blobs.is_blob(key) then return { { "shared", key } } end
  return families_of_checkpoints(key)
end

function layout.latest_key() return nil end

function layout.latest() return nil end

-- Of a shallow saver has_checkpoint tells what is in use.
function layout.has_shallow_saver() return false end

function layout.dangling() return nil end

function layout.is_stub() return false end

layout.shared_keys_named = blobs.named

layout.each_shared_key_owner = blobs.each_owner

return layout
