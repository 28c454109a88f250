-- layout: what langgraph-checkpoint-plainredis keeps (its `RedisSaver` and `AsyncRedisSaver`).
-- layouts/README.md says what each function answers.
--
--   {p}:cp:{thread}:{ns}:{id}                string  one checkpoint, without values of channels
--   {p}:blob:{thread}:{ns}:{channel}:{v}     string  the value that a channel had in a version
--   {p}:wr:{thread}:{ns}:{id}                hash    pending writes: the write registry
--   {p}:idx:{thread}:{ns}                    zset    ids, as they were put: the last is the newest,
--                                                    so that it is the latest pointer
--   {p}:threads                              hash    {p}:idx:… to its thread and its namespace
--
-- The root namespace is empty. A name that can be read in several ways is the same key for all of
-- these readings: `threads` says who has put there last. `put` is a transaction, so that no blob is
-- on its way without its checkpoint.

--@include include/bytes.lua
--@include include/clock.lua
--@include include/lists.lua
--@include layouts/langgraph/saver_keys.lua
--@include layouts/langgraph/checkpoint_headers.lua
--@include layouts/plainredis/msgpack.lua
--@include layouts/plainredis/plain_documents.lua
--@include layouts/plainredis/plain_blobs.lua

-- Some writes have fixed numbers (WRITES_IDX_MAP in langgraph-checkpoint).
local FAILURE, INTERRUPT = ":-1", ":-3"

local sub = string.sub

local keys = saver_keys.new("")
local layout = keys

local prefix

local use_names = keys.use

function layout.use(its_prefix)
  prefix = its_prefix
  use_names(prefix .. ":cp", nil, prefix .. ":wr")
  plain_blobs.use(prefix, keys.each_reading)
end

local function index_start() return prefix .. ":idx" end

local owner_of = plain_blobs.owner_of

local function is_its(thread, ns)
  local owner, its_ns = owner_of(sub(keys.suffix(thread, ns, ""), 1, -2))
  return owner == thread and its_ns == ns
end

function layout.owner(key)
  local start = keys.bare_key_starts().checkpoint
  if not bytes.starts(key, start .. ":") or redis.call("EXISTS", key) == 0 then return nil end
  local place, id = keys.split_suffix(sub(key, #start + 1))
  local thread, ns = owner_of(place or "")
  if not thread then return nil end
  return thread, ns, id
end

-- What checkpoint_headers asks of a document, by the paths where others have it.
local FIELDS = { ["$.parent_checkpoint_id"] = "parent", ["$.metadata"] = "metadata",
  ["$.source"] = "source", ["$.checkpoint.v"] = "v", ["$.step"] = "step" }

-- Of what cannot be read it is known whose it is, and no metadata.
local function read(key, paths)
  local thread, ns, id = layout.owner(key)
  if not thread then return nil end
  local found, values = plain_documents.read(key) or {}, {}
  local stated = { ["$.thread_id"] = thread, ["$.checkpoint_ns"] = ns, ["$.checkpoint_id"] = id }
  for at, path in ipairs(paths) do values[at] = stated[path] or found[FIELDS[path]] end
  return values
end

local function has_value(blob)
  return blob ~= nil and plain_documents.has_value(blob)
end

-- The blob of a channel at a checkpoint with these versions.
local function blob_at(thread, ns, versions, channel)
  local version = versions and versions[channel]
  return version and plain_blobs.key(keys.suffix(thread, ns, channel), version)
end

local function channels_at(thread, ns, id)
  local versions = plain_documents.versions(keys.checkpoint_key(thread, ns, id))
  return {
    here = setmetatable({}, { __index = function(_, name)
      return has_value(blob_at(thread, ns, versions, name))
    end }),
    -- LangGraph gives a channel a version with the first write.
    unwritten = function(name)
      return versions and next(versions) ~= nil and versions[name] == nil
    end,
  }
end

local headers =
  checkpoint_headers.new(keys, checkpoint_headers.METADATA_AS_OBJECT, channels_at, read)

layout.header = headers.header

function layout.simple_headers(thread, ids)
  local found = {}
  for _, id in ipairs(ids) do
    local header = headers.header(keys.checkpoint_key(thread, "", id))
    if header and header.thread == thread and not header.unsupported then found[id] = header end
  end
  return found
end

-- The end of most documents says it.
function layout.confirm_roots(thread, ids)
  local confirmed, parents, mine = {}, {}, is_its(thread, "")
  for _, id in ipairs(ids) do
    local key = keys.checkpoint_key(thread, "", id)
    local parent = mine and plain_documents.plain_parent(key)
    if parent then
      confirmed[id], parents[id] = true, parent
    else
      local header = mine and headers.header(key)
      confirmed[id] = header and (header.unsupported and "unsupported" or true) or false
      parents[id] = header and header.parent or nil
    end
  end
  return confirmed, parents
end

function layout.existing(thread, ns, ids)
  local exists, mine = {}, is_its(thread, ns)
  for _, id in ipairs(ids) do
    exists[id] = mine and redis.call("EXISTS", keys.checkpoint_key(thread, ns, id)) == 1
  end
  return exists
end

function layout.exists(thread, ns, id) return layout.existing(thread, ns, { id })[id] end

function layout.all_exist(thread, ns, ids)
  local start, names = keys.key_starts(thread, ns).checkpoint, {}
  for at, id in ipairs(ids) do names[at] = start .. id end
  return lists.total("EXISTS", names) == #ids
end

function layout.has_checkpoint(suffix)
  return redis.call("EXISTS", keys.bare_key_starts().checkpoint .. suffix) == 1
end

-- Writes are not at the key of their checkpoint.
function layout.is_stub() return false end

function layout.parent(thread, ns, id)
  local key = keys.checkpoint_key(thread, ns, id)
  return plain_documents.plain_parent(key) or (plain_documents.read(key) or {}).parent or ""
end

function layout.locate(thread, ns, id, channel)
  local parent, channels = layout.parent(thread, ns, id), channels_at(thread, ns, id)
  if channels.here[channel] then return "here", parent end
  return channels.unwritten(channel) and "nowhere" or "above", parent
end

-- Any writes may be sends: only checkpoints of old formats need them.
function layout.has_sends(thread, ns, id)
  return redis.call("EXISTS", keys.registry_key(thread, ns, id)) == 1
end

-- Whether a channel's value says that a node is to run, as in layouts/langgraph/saver_layout.lua.
local function is_due(channel, blob)
  if not has_value(blob) then return false end
  if channel == "__start__" or bytes.starts(channel, "branch:to:") then return true end
  local waits_for_some = channel == "__pregel_tasks" or bytes.starts(channel, "join:")
  return waits_for_some and not plain_documents.is_empty_list(blob)
end

function layout.waits(thread, id)
  local failed, fields = false, redis.pcall("HKEYS", keys.registry_key(thread, "", id))
  for _, field in ipairs(fields) do
    if sub(field, -#INTERRUPT) == INTERRUPT then return true end
    failed = failed or sub(field, -#FAILURE) == FAILURE
  end
  if failed then return false end
  local versions = plain_documents.versions(keys.checkpoint_key(thread, "", id))
  if versions == false then return true end
  for channel in pairs(versions or {}) do
    if is_due(channel, blob_at(thread, "", versions, channel)) then return true end
  end
  return false
end

-- Ids say it.
function layout.put_at() return nil end

function layout.description(thread, ns, id)
  local found = plain_documents.read(keys.checkpoint_key(thread, ns, id)) or {}
  local made = clock.of_id(id)
  return { tostring(found.source or ""), tostring(found.step or ""),
    made and string.format("%d", made) or "" }
end

-- The hash goes as the registry of a checkpoint goes; there are no other keys of writes.
function layout.writes() return {}, false, 0 end

function layout.registered() return 0 end

function layout.write_owner() return nil end

function layout.registry_owner() return nil end

function layout.has_shallow_saver() return false end

function layout.latest_key(thread, ns)
  return index_start() .. sub(keys.suffix(thread, ns, ""), 1, -2)
end

local function newest_in(index)
  local found = redis.pcall("ZRANGE", index, 0, 0, "REV")
  return found[1]
end

function layout.latest(thread, ns) return newest_in(layout.latest_key(thread, ns)) end

function layout.dangling(pointer)
  local place, id = sub(pointer, #index_start() + 1), newest_in(pointer)
  if not id or layout.has_checkpoint(place .. ":" .. id) then return nil end
  return place, id
end

local families_of_checkpoints = keys.families

function layout.families(key)
  if bytes.starts(key, index_start() .. ":") then
    return { { "latest", sub(key, #index_start() + 1) } }
  end
  if plain_blobs.is_blob(key) then return { { "shared", key } } end
  return families_of_checkpoints(key)
end

-- The saver would remove a place from `threads` by itself, but only when it lists all threads.
function layout.take_off_lists(documents)
  local start, indexes, gone = keys.bare_key_starts().checkpoint, {}, 0
  for _, key in ipairs(documents) do
    local place, id = keys.split_suffix(sub(key, #start + 1))
    local index = index_start() .. place
    if indexes[index] == nil then indexes[index] = redis.call("EXISTS", index) end
    redis.call("ZREM", index, id)
  end
  for index, existed in pairs(indexes) do
    if redis.call("EXISTS", index) == 0 then
      gone = gone + existed
      redis.call("HDEL", plain_blobs.threads_key(), index)
    end
  end
  return gone
end

layout.shared_keys_named = plain_blobs.named

layout.each_shared_key_owner = plain_blobs.each_owner

return layout
