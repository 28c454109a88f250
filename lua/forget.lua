-- Takes checkpoints that are gone out of the indexes of their threads: others than a trim have
-- deleted or renamed them, or they have expired.
--
-- Of a document that is gone only the name is left. A root checkpoint's can be read in one way; in
-- any other, each colon may end the thread, and each the namespace. So the readings are looked up,
-- the first of very many. Whichever finds an entry names this very document, and the entry is out
-- of date.
--
-- An entry stays while keys of its checkpoint are left, or invocations that it started: it is
-- what remembers them until a trim has deleted them.
--
-- KEYS     any     names of checkpoint documents, of any threads; what exists is passed over
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  what the names of pin hashes begin with; the thread follows
--
-- Reply    {checkpoints forgotten, KEYS dealt with}: when it has looked up a great deal, a call
--          leaves the rest of KEYS to the next
--
-- Other keys it touches: per thread a zset, its index (include/entry.lua), is read and deleted
-- from; registries of these checkpoints are looked for. A thread of which nothing is left loses
-- its pins (a hash), too.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/pins.lua

layout.use(ARGV[2], ARGV[3])

local KINDS = { entry.STANDING, entry.TASK, entry.UNJUDGED }
local start = layout.checkpoint_key("", "", "")
start = string.sub(start, 1, string.find(start, ":", #ARGV[2] + 1, true))

-- Colons in a name, look-ups in a call.
local MOST_COLONS, MOST_LOOK_UPS = 64, 3000
local look_ups = 0

-- Our own trims are told of as well, hundreds of documents of one thread at a time: what has
-- been looked up once is remembered.
local indexes, groups = {}, {}

local function index_of(thread)
  local key = ARGV[1] .. thread
  look_ups = look_ups + 1
  if indexes[key] == nil then
    local exists = redis.call("TYPE", key).ok == "zset"
    indexes[key] = exists and { key = key, view = index.stored(key) } or false
  end
  return indexes[key]
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
  if kind ~= entry.STANDING or ns ~= "" then return false end
  return index.first(found.view, entry.of(entry.BY_ROOT, id)) ~= nil
end

-- An invocation of which no checkpoint is left is no longer named.
local function forget_invocation(found, ns)
  if index.first(found.view, entry.of(entry.TASK, ns)) then return end
  local roots = entry.of(entry.BY_NAMESPACE, ns)
  index.each_up(found.view, "[" .. roots, index.past(roots), function(member)
    local root = entry.fields(member)[2]
    redis.call("ZREM", found.key, member, entry.of(entry.BY_ROOT, root) .. ns)
  end)
end

local function forget_kind(found, thread, kind, ns, id)
  if not has_group(found, kind, ns) then return false end
  local members = index.members_of(found.view, kind, ns, id)
  if #members == 0 or is_remembering(found, thread, kind, ns, id) then return false end
  redis.call("ZREM", found.key, unpack(members))
  local leaf = entry.of(entry.LEAF, ns) .. id
  redis.call("ZREMRANGEBYLEX", found.key, "[" .. leaf .. "\0", "(" .. leaf .. "\1")
  if kind == entry.TASK then forget_invocation(found, ns) end
  return true
end

local function forget_reading(found, thread, ns, id)
  look_ups = look_ups + 1
  for _, kind in ipairs(KINDS) do
    if forget_kind(found, thread, kind, ns, id) then return true end
  end
  return false
end

-- Calls `visit(left, right)` for the colons of a text, until it answers true.
local function each_split(text, visit)
  local at, colons = string.find(text, ":", 1, true), 0
  while at and colons < MOST_COLONS do
    colons = colons + 1
    if visit(string.sub(text, 1, at - 1), string.sub(text, at + 1)) then return true end
    at = string.find(text, ":", at + 1, true)
  end
  return false
end

local function forget(key)
  local name = string.sub(key, #start + 1)
  local root_thread, root_id = layout.root_reading(name)
  local root_index = root_thread and index_of(root_thread)
  if root_index and forget_reading(root_index, root_thread, "", root_id) then return true end
  return each_split(name, function(thread, rest)
    local found = index_of(thread)
    return found and each_split(rest, function(ns, id)
      if layout.checkpoint_key(thread, "", id) == key then ns = "" end
      return forget_reading(found, thread, ns, id)
    end)
  end)
end

-- Marks of where runs began say nothing in a thread without checkpoints, and pins hold nothing.
local function drop_if_empty(thread, found)
  for _, kind in ipairs(KINDS) do
    if index.first(found.view, kind) then return end
  end
  redis.call("UNLINK", found.key)
  local pins_key = ARGV[4] .. thread
  if redis.call("TYPE", pins_key).ok == "hash" and pins.outlive(found.key, pins_key, thread) then
    redis.call("UNLINK", pins_key)
  end
end

local forgotten, dealt_with = 0, 0
for _, key in ipairs(KEYS) do
  if look_ups >= MOST_LOOK_UPS then break end
  dealt_with = dealt_with + 1
  if redis.call("EXISTS", key) == 0 and bytes.starts(key, start) and forget(key) then
    forgotten = forgotten + 1
  end
end
if forgotten > 0 then
  for thread, found in pairs(indexes) do
    if found then drop_if_empty(string.sub(thread, #ARGV[1] + 1), found) end
  end
end
return { forgotten, dealt_with }
