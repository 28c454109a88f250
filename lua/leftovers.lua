-- Deletes what writers left of checkpoints that are gone: stubs, write documents, registries,
-- and pointers to nothing.
--
-- A writer does not wait: `put_writes` may run before the `put` of its checkpoint, or after its
-- checkpoint was trimmed. What is newer than the newest checkpoint is on its way and stays; what
-- is older than the oldest goes; in between it goes when it is old enough.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), read when no entries are given
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  milliseconds after which something in between is a leftover
-- ARGV[5]  "count" to count only; "patient" when the index may not know all checkpoints, so that
--          only what is old enough goes; else ""
-- ARGV[6]  the number of index entries that follow, -1 to ask the index
-- then     the index entries, in the order of bytes: of each namespace at least its oldest and
--          its newest checkpoint
-- then     the leftovers, in groups of what bears one checkpoint's name:
--            flags: "g" when the checkpoint was there when the caller looked, and is given up:
--            whatever is left of it goes; when counting it may be there still. Else ""
--            suffix: the part of the key that all have in common, ":{thread}:{ns}:{id}"
--            the number of write keys, and the write keys
--          or  "p", a pointer, 0
--
-- Reply    {documents deleted, keys deleted (the documents with them), documents left: stubs}
--
-- It deletes at most all keys that it is given, and for each group a stub, a registry, and some
-- hundred writes that the registry names. It looks at each first.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

layout.use(ARGV[2], ARGV[3])
local thread, grace = ARGV[1], tonumber(ARGV[4])
local counting, patient = ARGV[5] == "count", ARGV[5] == "patient"
local listed = tonumber(ARGV[6])
local entries = {}
for at = 7, 6 + math.max(listed, 0) do
  entries[#entries + 1] = ARGV[at]
end
local view = listed >= 0 and index.listed(entries, 1) or index.stored(KEYS[1])
local now = clock.now_ms()
-- Writes that one registry may name to be worked off in one call.
local MANY = 500
local documents, keys, stubs = 0, 0, 0

local function delete(key)
  return redis.call(counting and "EXISTS" or "UNLINK", key)
end

local function ends(kind, ns)
  local prefix = entry.of(kind, ns)
  local oldest = index.first(view, prefix)
  if not oldest then return nil end
  local newest = view.down("(" .. entry.beyond(prefix), "[" .. prefix, 1)[1]
  return { oldest = entry.fields(oldest)[2], newest = entry.fields(newest)[2] }
end

-- The oldest and the newest checkpoint to compare with; nil in a thread without any.
local function ends_for(ns)
  return ends(entry.STANDING, ns) or ends(entry.TASK, ns) or ends(entry.STANDING, "")
end

local function is_old(id)
  local made = clock.of_id(id)
  return made ~= nil and now - made >= grace
end

local function is_leftover(ns, id)
  local known = ends_for(ns)
  if known and not patient and bytes.less(id, known.oldest) then return true end
  if known and bytes.less(known.newest, id) then return false end
  return is_old(id)
end

-- The write keys whose documents say that they belong to this thread, with their namespace and
-- id; without one, what the name alone says where it can be read in one way only.
local function owned(suffix, writes)
  local mine, ns, id = {}, nil, nil
  for _, key in ipairs(writes) do
    local owner, owner_ns, owner_id = layout.write_owner(key)
    if owner == thread and layout.suffix(owner, owner_ns, owner_id) == suffix then
      mine[#mine + 1] = key
      ns, id = owner_ns, owner_id
    elseif owner then
      return nil
    end
  end
  if not ns then ns, id = layout.split(suffix, thread) end
  return mine, ns, id
end

-- A shallow saver's writes look like leftovers: beside one, only those that a registry names go.
local function deletable(ns, id, writes)
  if not layout.shallow(thread, ns) then return writes end
  return (layout.writes(layout.names(thread, ns), id))
end

-- Deletes what the registry names and the caller has not seen, and then the registry; the rest of
-- a very long one is left to the next time.
local function delete_registered(ns, id, seen)
  local names = layout.names(thread, ns)
  local registered, shared, count = layout.writes(names, id, MANY)
  for _, key in ipairs(registered) do
    if not seen[key] then keys = keys + delete(key) end
    if (shared or count > MANY) and not counting then
      redis.call("ZREM", names.registry .. id, key)
    end
  end
  if not shared and count <= MANY then keys = keys + delete(names.registry .. id) end
end

local function delete_group(ns, id, all_writes, stub)
  local writes, seen = deletable(ns, id, all_writes), {}
  if stub then
    local deleted = delete(layout.checkpoint_key(thread, ns, id))
    documents, keys = documents + deleted, keys + deleted
  end
  for _, key in ipairs(writes) do
    seen[key] = true
    keys = keys + delete(key)
  end
  delete_registered(ns, id, seen)
end

-- What a plan has not counted of a checkpoint that it gives up: writes that no registry names.
local function count_unregistered(ns, id, writes)
  local registered = {}
  for _, key in ipairs((layout.writes(layout.names(thread, ns), id))) do
    registered[key] = true
  end
  for _, key in ipairs(deletable(ns, id, writes)) do
    if not registered[key] then keys = keys + delete(key) end
  end
end

local function sweep_group(gone, suffix, writes)
  local mine, ns, id = owned(suffix, writes)
  if not mine or not id then return end
  if layout.real(thread, ns, { id })[id] then
    if gone and counting then count_unregistered(ns, id, mine) end
    return
  end
  local stub = layout.is_stub(layout.checkpoint_key(thread, ns, id))
  if gone or is_leftover(ns, id) then
    delete_group(ns, id, mine, stub)
  elseif stub then
    stubs = stubs + 1
  end
end

-- A pointer to a checkpoint that is not there, in a namespace without any.
local function sweep_pointer(key)
  local ns, id = layout.dangling(key, thread)
  if not ns or ends(entry.STANDING, ns) or ends(entry.TASK, ns) then return end
  if is_leftover(ns, id) then keys = keys + delete(key) end
end

local at = 7 + math.max(listed, 0)
while at <= #ARGV do
  local flags, name, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local writes = {}
  for offset = 1, count do
    writes[offset] = ARGV[at + 2 + offset]
  end
  if flags == "p" then sweep_pointer(name) else sweep_group(flags == "g", name, writes) end
  at = at + 3 + count
end
return { documents, keys, stubs }
