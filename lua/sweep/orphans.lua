-- Deletes orphans: what writers left of checkpoints that are gone. That is stubs, write documents,
-- registries, and pointers to nothing.
--
-- A writer may put a pending write before its checkpoint, or after this was trimmed. What is newer
-- than the newest checkpoint of its namespace may still get its checkpoint and is not touched. Of
-- the rest, what is old enough is deleted, by the time in its id; the writer's clock may differ
-- from the server's.
--
-- A name may be read in several ways, since threads and namespaces may have colons. But all of them
-- name the same document: where it does not exist, the name is an orphan in each.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), read when no entries are given
--
-- ARGV[1]  the thread, as it stands in the keys; "" for what cannot be said whose it is
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  milliseconds after which something is an orphan, the difference of clocks with them
-- ARGV[5]  1 to count only, else 0
-- ARGV[6]  the number of index entries that follow, -1 to ask the index
-- then     the index entries, in the order of bytes: of each namespace at least its newest
--          checkpoint
-- then     what may be orphans, in groups of what bears one checkpoint's name:
--            what it is: "deleted" when the checkpoint was there when the caller looked, and is not
--            retained: whatever is left of it is deleted, and when counting it may be there
--            still. "unknown" for anything else
--            suffix: the part of the key that all have in common (layouts/README.md)
--            the number of write keys, and the write keys
--          or  "pointer", a pointer, or what a shallow saver has left of an invocation, 0
--
-- Reply    {documents deleted, keys deleted (the documents with them), documents left: stubs}
--
-- It deletes at most all keys that it is given, and for each group a stub, a registry, and some
-- hundred writes that the registry names. It looks at each first, and reads the indexes of the
-- threads that a name may speak of.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local index_key, thread = KEYS[1], ARGV[1]
local age, counting, listed = tonumber(ARGV[4]), ARGV[5] == "1", tonumber(ARGV[6])
local first_entry, first_group = 7, 7 + math.max(listed, 0)
local view = listed < 0 and index.stored(index_key)
  or index.listed(ARGV, first_entry, first_group - 1)
local index_start = string.sub(index_key, 1, #index_key - #thread)
layout.use(ARGV[2], ARGV[3])

local starts, now = layout.bare_key_starts(), clock.now_ms()
-- Writes of one registry that a call deletes at most.
local MOST_WRITES = 500
local documents, keys, stubs = 0, 0, 0

local function delete(key)
  return redis.call(counting and "EXISTS" or "UNLINK", key)
end

-- The index of a thread; one that another slot of a cluster holds cannot be read.
local function view_of(owner)
  if owner == thread then return view end
  local there = redis.pcall("ZCARD", index_start .. owner)
  return there ~= 0 and type(there) == "number" and index.stored(index_start .. owner) or nil
end

local function newest_of(owner, ns)
  local found = view_of(owner)
  return found and (index.newest_id(found, entry.of(entry.INDEPENDENT, ns))
    or index.newest_id(found, entry.of(entry.INVOCATION, ns)))
end

-- Whether a checkpoint of this thread may still arrive: it would be the newest.
local function may_arrive(ns, id)
  local newest = newest_of(thread, ns) or newest_of(thread, "")
  return newest ~= nil and bytes.less(newest, id)
end

-- The same in any reading of a name.
local function may_arrive_in_any(place, id)
  local found = false
  local all = layout.each_reading(place, function(owner, ns)
    local newest = newest_of(owner, ns)
    found = newest ~= nil and bytes.less(newest, id)
    return found
  end)
  return found or not all
end

-- Whether a name can only be this thread's; with "" any will do: none of them has a checkpoint.
local function is_ours(place)
  local ours, readings = false, 0
  layout.each_reading(place, function(owner)
    ours, readings = owner == thread, readings + 1
    return readings > 1
  end)
  return thread == "" or ours and readings == 1
end

local function is_old(id)
  local made = clock.of_id(id)
  return made ~= nil and now - made >= age
end

-- The write keys whose documents do not say that they are another checkpoint's, and the namespace
-- that they say; nil when one says that all of this is another thread's.
local function owned(suffix, writes)
  local mine, ns = {}, nil
  for _, key in ipairs(writes) do
    local owner, owner_ns, owner_id = layout.write_owner(key)
    if owner and layout.suffix(owner, owner_ns, owner_id) == suffix then
      if owner ~= thread and thread ~= "" then return nil end
      mine[#mine + 1], ns = key, owner_ns
    end
  end
  return mine, ns
end

-- A shallow saver's writes look like orphans: beside one, only those are deleted that a registry
-- names, or whose checkpoint it has replaced.
local function deletable(suffix, place, writes)
  if not layout.has_shallow_saver(place) then return writes end
  local owner, ns, id = layout.write_owner(writes[1] or "")
  if owner and layout.is_replaced and layout.is_replaced(owner, ns, id) then return writes end
  return (layout.writes(starts, suffix))
end

-- Takes deleted writes out of a shallow saver's registry.
local function deregister(writes, owner, ns)
  if owner and not counting and layout.deregister then layout.deregister(owner, ns, writes) end
end

-- Deletes what the registry names and the caller has not seen, and then the registry; the rest of
-- a very long one is left to the next time.
local function delete_registered(suffix, seen)
  local registered, shared, count = layout.writes(starts, suffix, MOST_WRITES)
  for _, key in ipairs(registered) do
    if not seen[key] then keys = keys + delete(key) end
    if (shared or count > MOST_WRITES) and not counting then
      redis.call("ZREM", starts.registry .. suffix, key)
    end
  end
  if not shared and count <= MOST_WRITES then keys = keys + delete(starts.registry .. suffix) end
end

local function delete_group(suffix, writes, stub)
  local seen = {}
  if stub then
    local deleted = delete(starts.checkpoint .. suffix)
    documents, keys = documents + deleted, keys + deleted
  end
  local owner, ns = layout.write_owner(writes[1] or "")
  for _, key in ipairs(writes) do
    seen[key] = true
    keys = keys + delete(key)
  end
  deregister(writes, owner, ns)
  delete_registered(suffix, seen)
end

-- What a plan has not counted of a checkpoint that it deletes: writes that no registry names.
local function count_unregistered(suffix, writes)
  local registered = {}
  for _, key in ipairs((layout.writes(starts, suffix))) do
    registered[key] = true
  end
  for _, key in ipairs(writes) do
    if not registered[key] then keys = keys + delete(key) end
  end
end

local function clean_group(was_deleted, suffix, all_writes)
  local mine, ns = owned(suffix, all_writes)
  if not mine then return end
  local place, id = layout.split_suffix(suffix)
  if not ns and (not is_ours(place) or layout.registry_owner(suffix) == false) then return end
  local writes = deletable(suffix, place, mine)
  local stub = layout.is_stub(starts.checkpoint .. suffix)
  if layout.has_checkpoint(suffix) then
    if was_deleted and counting then count_unregistered(suffix, writes) end
    return
  end
  local expected
  if ns and thread ~= "" then
    expected = may_arrive(ns, id)
  else
    expected = may_arrive_in_any(place, id)
  end
  if was_deleted or not expected and is_old(id) then
    delete_group(suffix, writes, stub)
  elseif stub then
    stubs = stubs + 1
  end
end

-- A pointer to a checkpoint that is not there, when no reading of its name speaks of a namespace
-- that has checkpoints.
local function clean_pointer(key)
  local place, id = layout.dangling(key)
  if not place or not is_old(id) or not is_ours(place) then return end
  local used = false
  local all = layout.each_reading(place, function(owner, ns)
    used = newest_of(owner, ns) ~= nil
    return used
  end)
  if all and not used then keys = keys + delete(key) end
end

-- Deletes what a shallow saver has left of an invocation that is over; of very many writes the rest
-- is left to look like orphans. False when this is no document of one.
local function clean_finished(key)
  if not layout.finished then return false end
  local owner, writes, registry = layout.finished(key, MOST_WRITES)
  if not owner or thread ~= "" and owner ~= thread then return false end
  documents, keys = documents + delete(key), keys + 1
  for _, write in ipairs(writes) do keys = keys + delete(write) end
  if #writes < MOST_WRITES then keys = keys + delete(registry) end
  return true
end

local at = first_group
while at <= #ARGV do
  local what, name, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local first_write, past = at + 3, at + 3 + count
  if what == "pointer" then
    if not clean_finished(name) then clean_pointer(name) end
  else
    clean_group(what == "deleted", name, { unpack(ARGV, first_write, past - 1) })
  end
  at = past
end
return { documents, keys, stubs }
