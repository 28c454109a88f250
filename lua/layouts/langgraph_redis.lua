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
-- saver's document, and one under a longer prefix, fail that test.

--@include include/bytes.lua
--@include include/clock.lua
--@include include/lists.lua
--@include layouts/langgraph_redis/saver_keys.lua
--@include layouts/langgraph_redis/json_documents.lua
--@include layouts/langgraph_redis/checkpoint_headers.lua

-- The names of keys are a part of it.
local layout = saver_keys

layout.header = checkpoint_headers.header
layout.simple_headers = checkpoint_headers.simple_headers
layout.confirm_roots = checkpoint_headers.confirm_roots

-- Some writes have fixed numbers (WRITES_IDX_MAP in langgraph-checkpoint).
local FAILURE, INTERRUPT = ":-1", ":-3"
local DESCRIPTION = { "$.source", "$.step", "$.checkpoint_ts" }

local find, try = string.find, redis.pcall
local quietly, read = json_documents.quietly, json_documents.read
local length_at = json_documents.length_at

function layout.description(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), DESCRIPTION) or {}
  local made = clock.of_id(id) or tonumber(values[3])
  return { tostring(values[1] or ""), tostring(values[2] or ""),
    made and string.format("%d", made) or "" }
end

-- Beside a ULID the saver notes seconds; but there the id says it.
function layout.put_at(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), { "$.checkpoint_ts" })
  return values and tonumber(values[1])
end

-- Whether `reply` of JSON.MGET names the thread; a stub names none. An embedded server answers
-- without the brackets.
local function names_thread(reply, thread)
  if type(reply) ~= "string" then return false end
  local found = json_documents.decoded(reply) or json_documents.decoded("[" .. reply .. "]")
  return found ~= nil and found[1] == thread
end

function layout.existing(thread, ns, ids)
  local exists, usual = {}, '["' .. thread .. '"]'
  json_documents.each_reply(thread, ns, ids, "$.thread_id", function(id, reply)
    exists[id] = reply == usual or names_thread(reply, thread)
  end)
  return exists
end

function layout.exists(thread, ns, id)
  return layout.existing(thread, ns, { id })[id]
end

function layout.all_exist(thread, ns, ids)
  local start, keys, existing = layout.key_starts(thread, ns).checkpoint, {}, 0
  for at, id in ipairs(ids) do keys[at] = start .. id end
  lists.in_parts(keys, function(...) existing = existing + redis.call("EXISTS", ...) end)
  return existing == #ids
end

function layout.parent(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), { "$.parent_checkpoint_id" })
  return values and type(values[1]) == "string" and values[1] or ""
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
  if key and bytes.starts(key, start) then return string.sub(key, #start + 1) end
  return nil
end

function layout.locate(thread, ns, id, channel)
  local key = layout.checkpoint_key(thread, ns, id)
  local values = read(key, { "$.parent_checkpoint_id" })
  local parent = values and values[1] or ""
  local channels = checkpoint_headers.channels_at(key)
  if channels.here[channel] then return "here", parent end
  if channels.unwritten(channel) then return "nowhere", parent end
  return "above", parent
end

local function own(keys, start)
  local mine = {}
  for _, key in ipairs(keys) do
    if bytes.starts(key, start) then mine[#mine + 1] = key end
  end
  return mine
end

-- A registry may name others' writes too: its prefix is the same for every saver in the database.
function layout.writes(starts, id, limit)
  local registry, start = starts.registry .. id, starts.write .. id .. ":"
  local keys = try("ZRANGE", registry, "0", limit and limit - 1 or "-1")
  if keys.err then return quietly("ZRANGE", registry, 0, 0) or {}, true, 0 end
  local count = #keys
  if count == limit then count = redis.call("ZCARD", registry) end
  for at = 1, #keys do
    if find(keys[at], start, 1, true) ~= 1 then return own(keys, start), true, count end
  end
  return keys, false, count
end

-- Documents of writes that are read of one checkpoint: with more it is taken to have sends.
local MOST_WRITES = 500

-- A write states its channel, as JSON.GET answers it.
function layout.has_sends(thread, ns, id)
  local keys, _, count = layout.writes(layout.key_starts(thread, ns), id, MOST_WRITES)
  if count > MOST_WRITES then return true end
  for _, key in ipairs(keys) do
    if quietly("JSON.GET", key, "$.channel") == '["__pregel_tasks"]' then return true end
  end
  return false
end

-- Whether a channel's value says that a node is to run: LangGraph leaves these behind until it
-- has, also while it waits at a breakpoint. Of sends and joins an empty list is left for good. A
-- value may be large: only its length is asked for.
local function is_due(key, channel)
  if channel == "__start__" or bytes.starts(channel, "branch:to:") then return true end
  local quoted = string.gsub(cjson.encode(channel), "\\/", "/")
  local path = "$.checkpoint.channel_values[" .. quoted .. "]"
  if channel == "__pregel_tasks" then return (length_at(key, path) or 1) > 0 end
  return bytes.starts(channel, "join:") and (length_at(key, path .. ".args[0]") or 0) > 0
end

function layout.waits(thread, id)
  local starts, failed = layout.key_starts(thread, ""), false
  for _, key in ipairs((layout.writes(starts, id))) do
    if string.sub(key, -#INTERRUPT) == INTERRUPT then return true end
    failed = failed or string.sub(key, -#FAILURE) == FAILURE
  end
  local key = starts.checkpoint .. id
  if failed then return false end
  for channel in pairs((json_documents.names_at(key, "$.checkpoint.channel_values"))) do
    if is_due(key, channel) then return true end
  end
  return false
end

function layout.registered(thread, ns, id)
  return quietly("ZCARD", layout.registry_key(thread, ns, id)) or 0
end

function layout.owner(key)
  local thread, ns, id = json_documents.stated_fields(key)
  if not thread or layout.checkpoint_key(thread, ns, id) ~= key then return nil end
  return thread, ns, id
end

function layout.write_owner(key)
  local thread, ns, id = json_documents.stated_fields(key)
  if not thread or not bytes.starts(key, layout.key_starts(thread, ns).write .. id .. ":") then
    return nil
  end
  return thread, ns, id
end

-- The first writes that say so speak for all.
function layout.registry_owner(suffix)
  local registry = layout.bare_key_starts().registry .. suffix
  for _, key in ipairs(quietly("ZRANGE", registry, 0, 9) or {}) do
    local thread, ns, id = layout.write_owner(key)
    if thread and layout.suffix(thread, ns, id) == suffix then return thread end
  end
  return nil
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
  return text ~= nil and find(text, '%["') == nil
end

function layout.dangling(pointer)
  local place = layout.pointer_place(pointer)
  local key, start = quietly("GET", pointer), layout.bare_key_starts().checkpoint .. place .. ":"
  if not key or not bytes.starts(key, start) then return nil end
  if redis.call("EXISTS", key) == 1 and not layout.is_stub(key) then return nil end
  return place, string.sub(key, #start + 1)
end

function layout.has_shallow_saver(place)
  return redis.call("EXISTS", layout.shallow_keys(place)) > 0
end

return layout
