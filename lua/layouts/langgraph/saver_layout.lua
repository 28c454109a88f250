-- saver_layout: what the layouts of LangGraph's savers answer in the same way.

--@include include/bytes.lua
--@include include/clock.lua
--@include include/lists.lua
--@include layouts/langgraph/json_documents.lua

local saver_layout = {}

-- Some writes have fixed numbers (WRITES_IDX_MAP in langgraph-checkpoint).
local FAILURE, INTERRUPT = ":-1", ":-3"
local DESCRIPTION = { "$.source", "$.step", "$.checkpoint_ts" }
-- Documents of writes that are read of one checkpoint: with more it is taken to have sends.
local MOST_WRITES = 500

local find, try = string.find, redis.pcall
local quietly, read = json_documents.quietly, json_documents.read
local length_at = json_documents.length_at

-- Whether `reply` of JSON.MGET names the thread; a stub names none. An embedded server answers
-- without the brackets.
local function names_thread(reply, thread)
  if type(reply) ~= "string" then return false end
  local found = json_documents.decoded(reply) or json_documents.decoded("[" .. reply .. "]")
  return found ~= nil and found[1] == thread
end

local function own(keys, start)
  local mine = {}
  for _, key in ipairs(keys) do
    if bytes.starts(key, start) then mine[#mine + 1] = key end
  end
  return mine
end

-- Where a checkpoint has the values of its channels: {[channel] = {key, path}}.
function saver_layout.values_in_document(key)
  local values = {}
  for channel in pairs((json_documents.names_at(key, "$.checkpoint.channel_values"))) do
    local quoted = string.gsub(cjson.encode(channel), "\\/", "/")
    values[channel] = { key, "$.checkpoint.channel_values[" .. quoted .. "]" }
  end
  return values
end

-- A layout of the names that saver_keys.new has made and the headers that checkpoint_headers.new
-- has. `options`:
--   channels_at          what checkpoint_headers.new was given
--   values(thread, id)   where a root checkpoint has the values of its channels, as above
--   is_own_write(key)    whether a write document is one of this saver, by how it keeps its value
--   can_own_registry(suffix)  whether a registry can be this saver's, by its name
function saver_layout.new(layout, headers, options)
  layout.header = headers.header
  layout.simple_headers = headers.simple_headers
  layout.confirm_roots = headers.confirm_roots

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

  function layout.existing(thread, ns, ids)
    local exists, usual = {}, '["' .. thread .. '"]'
    local start = layout.key_starts(thread, ns).checkpoint
    json_documents.each_reply(start, ids, "$.thread_id", function(id, reply)
      exists[id] = reply == usual or names_thread(reply, thread)
    end)
    return exists
  end

  function layout.exists(thread, ns, id)
    return layout.existing(thread, ns, { id })[id]
  end

  function layout.all_exist(thread, ns, ids)
    local start, keys = layout.key_starts(thread, ns).checkpoint, {}
    for at, id in ipairs(ids) do keys[at] = start .. id end
    return lists.total("EXISTS", keys) == #ids
  end

  function layout.parent(thread, ns, id)
    local values = read(layout.checkpoint_key(thread, ns, id), { "$.parent_checkpoint_id" })
    return values and type(values[1]) == "string" and values[1] or ""
  end

  function layout.locate(thread, ns, id, channel)
    local parent = layout.parent(thread, ns, id)
    local channels = options.channels_at(thread, ns, id)
    if channels.here[channel] then return "here", parent end
    if channels.unwritten(channel) then return "nowhere", parent end
    return "above", parent
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
  -- has, also while it waits at a breakpoint. Of sends and joins an empty list is left for good: of
  -- joins as an argument in Python, in JavaScript as it is, or before whether it is finished. A
  -- value may be large: only its length is asked for.
  local function is_due(channel, key, path)
    if channel == "__start__" or bytes.starts(channel, "branch:to:") then return true end
    if channel == "__pregel_tasks" then return (length_at(key, path) or 1) > 0 end
    if not bytes.starts(channel, "join:") then return false end
    local joined = length_at(key, path .. ".args[0]") or length_at(key, path .. "[0]")
      or length_at(key, path)
    return (joined or 0) > 0
  end

  function layout.waits(thread, id)
    local starts, failed = layout.key_starts(thread, ""), false
    for _, key in ipairs((layout.writes(starts, id))) do
      if string.sub(key, -#INTERRUPT) == INTERRUPT then return true end
      failed = failed or string.sub(key, -#FAILURE) == FAILURE
    end
    if failed then return false end
    for channel, place in pairs(options.values(thread, id)) do
      if is_due(channel, unpack(place)) then return true end
    end
    return false
  end

  function layout.registered(starts, id)
    return quietly("ZCARD", starts.registry .. id) or 0
  end

  function layout.owner(key)
    local thread, ns, id = json_documents.stated_fields(key)
    if not thread or layout.checkpoint_key(thread, ns, id) ~= key then return nil end
    return thread, ns, id
  end

  function layout.write_owner(key)
    local thread, ns, id = json_documents.stated_fields(key)
    if not thread or not bytes.starts(key, layout.key_starts(thread, ns).write .. id .. ":")
      or not options.is_own_write(key) then return nil end
    return thread, ns, id
  end

  -- The first write that says whose it is speaks for all.
  function layout.registry_owner(suffix)
    local starts, can_be_ours = layout.bare_key_starts(), options.can_own_registry(suffix)
    for _, key in ipairs(quietly("ZRANGE", starts.registry .. suffix, 0, 9) or {}) do
      local thread, ns, id = layout.write_owner(key)
      if thread and layout.suffix(thread, ns, id) == suffix then return thread end
      if bytes.starts(key, starts.write .. suffix .. ":") and redis.call("EXISTS", key) == 1
        and not options.is_own_write(key) then
        can_be_ours = false
      end
    end
    if can_be_ours then return nil end
    return false
  end

  -- LangGraph.js' shallow saver keeps one checkpoint of a namespace, whose id its key does not say.
  -- Newer ones may be about to take its place.
  function layout.has_checkpoint(suffix)
    local key = layout.bare_key_starts().checkpoint .. suffix
    if redis.call("EXISTS", key) == 1 then return not layout.is_stub(key) end
    local place, id = layout.split_suffix(suffix)
    if not place then return false end
    local shallow = layout.bare_key_starts().checkpoint .. place .. ":shallow"
    local values = read(shallow, { "$.checkpoint_id" })
    return values ~= nil and type(values[1]) == "string" and not bytes.less(id, values[1])
  end

  return layout
end

return saver_layout
