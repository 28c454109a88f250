-- layout: what the keys of langgraph-checkpoint-redis mean (`RedisSaver`, `AsyncRedisSaver`).
-- layouts/README.md says what each function answers.
--
--   {checkpoint}:{thread}:{ns}:{id}               JSON    one checkpoint
--   {checkpoint}_latest:{thread}:{ns}             string  key of the newest checkpoint
--   {write}:{thread}:{ns}:{id}:{task}:{idx}       JSON    one pending write of one task
--   write_keys_zset:{thread}:{ns}:{id}            zset    names of that checkpoint's write keys
--
-- {checkpoint} and {write} are the saver's prefixes. A key is never split: the fields of the
-- document say whose it is, and the key built from them must be the key they came from. A shallow
-- saver's document, and one under a longer prefix, fail that test. LangGraph.js keeps its documents
-- under the same names; there the root namespace is empty, and the metadata is no text.

--@include include/bytes.lua
--@include layouts/langgraph/saver_keys.lua
--@include layouts/langgraph/json_documents.lua
--@include layouts/langgraph/checkpoint_headers.lua
--@include layouts/langgraph/saver_layout.lua
--@include layouts/langgraph_redis/shallow_saver.lua

local ROOT, ROOT_OF_OTHERS = "__empty__", ""
local LATEST = "_latest:"

local sub = string.sub
local quietly, read = json_documents.quietly, json_documents.read

local keys = saver_keys.new(ROOT, ROOT_OF_OTHERS)

-- What is known of the values of a checkpoint's channels.
local function channels_at(thread, ns, id)
  local key = keys.checkpoint_key(thread, ns, id)
  local here = json_documents.names_at(key, "$.checkpoint.channel_values")
  local versions, any_version = json_documents.names_at(key, "$.checkpoint.channel_versions")
  return {
    here = here,
    -- LangGraph gives a channel a version with the first write: without one there is nothing
    -- to look for. A document without any version says nothing about it.
    unwritten = function(name) return any_version and not versions[name] end,
  }
end

-- LangGraph.js keeps the value of a write as it is, in a field of that name.
local function is_own_write(key)
  local fields = json_documents.names_at(key, "$")
  return fields.blob or not fields.value
end

local headers = checkpoint_headers.new(keys, checkpoint_headers.METADATA_AS_TEXT, channels_at)
local layout = saver_layout.new(keys, headers, {
  channels_at = channels_at,
  values = function(thread, id)
    return saver_layout.values_in_document(keys.checkpoint_key(thread, "", id))
  end,
  is_own_write = is_own_write,
  can_own_registry = function() return true end,
})

local function latest_start()
  return layout.bare_key_starts().checkpoint .. LATEST
end

function layout.latest_key(thread, ns)
  return latest_start() .. sub(layout.suffix(thread, ns, ""), 2, -2)
end

-- The place, ":{thread}:{ns}", of a pointer.
local function pointer_place(pointer)
  return ":" .. sub(pointer, #latest_start() + 1)
end

local families_of_checkpoints = layout.families

function layout.families(key)
  if not bytes.starts(key, latest_start()) then return families_of_checkpoints(key) end
  return { { "latest", pointer_place(key) }, unpack(families_of_checkpoints(key)) }
end

-- The saver keeps the run as a field of its own.
function layout.run_of(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), { "$.thread_id", "$.run_id" })
  if not values or values[1] == nil then return nil end
  return values[1] == thread and (values[2] or "")
end

function layout.latest(thread, ns)
  local key = quietly("GET", layout.latest_key(thread, ns))
  local start = layout.key_starts(thread, ns).checkpoint
  if key and bytes.starts(key, start) then return sub(key, #start + 1) end
  return nil
end

function layout.set_latest(thread, ns, id)
  local key = layout.latest_key(thread, ns)
  redis.call("SET", key, layout.checkpoint_key(thread, ns, id), "KEEPTTL")
end

function layout.renamed(key, thread, other)
  local owner, ns, id = layout.owner(key)
  if owner then return owner == thread and layout.checkpoint_key(other, ns, id) or nil, ns, id end
  owner, ns = layout.write_owner(key)
  if owner ~= thread then return nil end
  local start = #layout.key_starts(thread, ns).write
  return layout.key_starts(other, ns).write .. string.sub(key, start + 1)
end

-- COPY takes the TTL along.
function layout.copy(key, to, other)
  redis.call("COPY", key, to, "REPLACE")
  redis.call("JSON.SET", to, "$.thread_id", cjson.encode(other))
end

function layout.is_stub(key)
  local text = quietly("JSON.GET", key, "$.checkpoint_id", "$.thread_id")
  return text ~= nil and string.find(text, '%["') == nil
end

function layout.dangling(pointer)
  local place = pointer_place(pointer)
  local key, start = quietly("GET", pointer), layout.bare_key_starts().checkpoint .. place .. ":"
  if not key or not bytes.starts(key, start) then return nil end
  if redis.call("EXISTS", key) == 1 and not layout.is_stub(key) then return nil end
  return place, string.sub(key, #start + 1)
end

for name, answer in pairs(shallow_saver.new(keys)) do layout[name] = answer end

return layout
