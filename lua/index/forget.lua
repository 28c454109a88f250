-- Forgets checkpoints that are gone: others than a trim have deleted or renamed them, or they have
-- expired. Their entries leave the indexes. A thread that is gone loses its index and its pins.
--
-- Of a document that is gone only the name is left. A root checkpoint's can be read in one way; in
-- any other, each colon may end the thread, and each the namespace. So each reading is looked up in
-- the index, up to a bound. An entry that is found names this very document, and is out of date.
--
-- An entry stays in the index while keys of its checkpoint are left, or invocations that it
-- started: a trim finds these by it.
--
-- KEYS     any     names of checkpoint documents, of any threads; what exists is passed over
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  what the names of pin hashes begin with; the thread follows
-- then     threads that may be gone, as they stand in the keys
--
-- Reply    {checkpoints forgotten, KEYS dealt with}: after so many readings, a call leaves the rest
--          of KEYS to the next
--
-- Other keys it touches: for each thread it reads its index (a zset, include/entry.lua) and deletes
-- from it; it reads whether registries of these checkpoints exist. Before it deletes pins (a hash)
-- it reads whether the latest pointer of the thread and the pinned checkpoints exist.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/pins.lua
--@include include/marks.lua

local index_start, pins_start, threads = ARGV[1], ARGV[4], { unpack(ARGV, 5) }
layout.use(ARGV[2], ARGV[3])

local MOST_LOOK_UPS = 3000
local look_ups = 0

-- Events report our own trims too, hundreds of documents of one thread at a time: so nothing is
-- looked up twice.
local indexes, groups = {}, {}

local function index_of(thread)
  look_ups = look_ups + 1
  if indexes[thread] == nil then
    local key = index_start .. thread
    local exists = redis.call("TYPE", key).ok == "zset"
    indexes[thread] = exists and { key = key, view = index.stored(key) } or false
  end
  return indexes[thread]
end

-- Whether the index has entries of a kind for a namespace at all.
local function has_group(found, kind, ns)
  local prefix = entry.of(kind, ns)
  local name = found.key .. "\0" .. prefix
  if groups[name] == nil then
    groups[name] = index.first(found.view, prefix) ~= nil
  end
  return groups[name]
end

local function is_remembering(found, thread, kind, ns, id)
  if redis.call("EXISTS", layout.registry_key(thread, ns, id)) == 1 then return true end
  if kind ~= entry.INDEPENDENT or ns ~= "" then return false end
  return index.first(found.view, entry.of(entry.STARTED, id)) ~= nil
end

-- An invocation of which no checkpoint is left is no longer named.
local function forget_invocation(found, ns)
  if index.first(found.view, entry.of(entry.INVOCATION, ns)) then return end
  index.each_of(found.view, entry.of(entry.STARTED_BY, ns), function(member)
    local root = entry.fields(member)[2]
    redis.call("ZREM", found.key, member, entry.of(entry.STARTED, root) .. ns)
  end)
end

local function forget_kind(found, thread, kind, ns, id)
  if not has_group(found, kind, ns) then return false end
  local members = index.members_of(found.view, kind, ns, id)
  if #members == 0 or is_remembering(found, thread, kind, ns, id) then return false end
  redis.call("ZREM", found.key, unpack(members))
  redis.call("ZREMRANGEBYLEX", found.key, entry.leaf_range(ns, id))
  marks.shared_keys_left(found.key)
  if kind == entry.INVOCATION then forget_invocation(found, ns) end
  return true
end

local function forget_reading(found, thread, ns, id)
  look_ups = look_ups + 1
  for _, kind in ipairs(entry.OF_CHECKPOINTS) do
    if forget_kind(found, thread, kind, ns, id) then return true end
  end
  return false
end

local function forget(key)
  local root_thread, root_id = layout.root_of_key(key)
  local root_index = root_thread and index_of(root_thread)
  if root_index and forget_reading(root_index, root_thread, "", root_id) then return true end
  return layout.each_thread_of(key, function(thread, rest)
    local found = index_of(thread)
    return found and layout.each_namespace_of(rest, function(ns, id)
      return forget_reading(found, thread, ns, id)
    end)
  end)
end

local function drop_if_gone(thread)
  local index_key, pins_key = index_start .. thread, pins_start .. thread
  if index.has_checkpoints(index.view(index_key, thread)) then return end
  redis.call("UNLINK", index_key)
  if redis.call("TYPE", pins_key).ok == "hash" and pins.outlive(index_key, pins_key, thread) then
    redis.call("UNLINK", pins_key)
  end
end

local forgotten, dealt_with = 0, 0
for _, key in ipairs(KEYS) do
  if look_ups >= MOST_LOOK_UPS then break end
  dealt_with = dealt_with + 1
  if redis.call("EXISTS", key) == 0 and forget(key) then forgotten = forgotten + 1 end
end
if forgotten > 0 then
  for thread, found in pairs(indexes) do
    if found then drop_if_gone(thread) end
  end
end
for _, thread in ipairs(threads) do drop_if_gone(thread) end
return { forgotten, dealt_with }
