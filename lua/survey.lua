-- One step of a sweep: looks at some keys of the database and says which of them need something.
-- Writes nothing. A key that is in order costs a microsecond or two and nothing on the wire.
--
-- KEYS     none: it asks SCAN itself, which a cluster does not allow in a script
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  the cursor of SCAN, "0" to begin
-- ARGV[5]  COUNT for SCAN: about so many keys are looked at
-- ARGV[6]  a Lua pattern for the threads to look at
-- ARGV[7]  1 to look at indexes only, else 0
--
-- Reply    {cursor, keys looked at, {document…}, {{thread, suffix, write…}…}, {{thread,
--          pointer}…}, {{thread, checkpoints, stale}…}}
--          documents: checkpoints that no index knows
--          then what may be left of checkpoints that are gone: write documents, registries and
--          stubs without a checkpoint, by what their names have in common; pointers to nothing
--          then the indexes, with the number of checkpoints that each knows; stale is 1 when the
--          oldest of them is gone
--
-- Keys it touches: whatever SCAN brings; of the saver's keys, documents and pointers are read,
-- registries and write documents where the checkpoint is missing.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

layout.use(ARGV[2], ARGV[3])

local index_start, threads_wanted, indexes_only = ARGV[1], ARGV[6], ARGV[7] == "1"
local documents, remains, pointers, indexes = {}, {}, {}, {}
local find, sub = string.find, string.sub

local function is_wanted(thread)
  return find(thread, threads_wanted) ~= nil
end

-- Whether the index of `thread` knows a checkpoint.
local function is_indexed(thread, ns, id)
  local key = index_start .. thread
  if ns == "" then
    local start = entry.of(entry.STANDING, "") .. id
    return #redis.call("ZRANGEBYLEX", key, "[" .. start, "(" .. start .. "\1", "LIMIT", 0, 1) > 0
  end
  local kind = layout.of_task(ns) and entry.TASK or entry.STANDING
  return #index.members_of(index.stored(key), kind, ns, id) > 0
end

-- A name can be read in several ways. An entry in an index has been read from the document, so
-- if any reading is in an index, the document is known.
local function is_known(rest)
  local thread, id = layout.root_reading(rest)
  if thread and is_indexed(thread, "", id) then return true end
  local at = find(rest, ":", 1, true)
  while at do
    local ns, last = string.match(sub(rest, at + 1), "^(.+):([^:]+)$")
    if ns and is_indexed(sub(rest, 1, at - 1), ns, last) then return true end
    at = find(rest, ":", at + 1, true)
  end
  return false
end

local function add_remains(thread, suffix, write)
  if is_wanted(thread) then remains[#remains + 1] = { thread, suffix, write } end
end

-- What is left without a checkpoint, if it can be said whose it is: by a write document, or by a
-- name that can be read in one way only.
local function look_at_remains(suffix, write)
  local owner = write and layout.write_owner(write) or layout.registry_owner(suffix)
  owner = owner or layout.only_reading(suffix)
  if owner then add_remains(owner, suffix, write) end
end

local function look_at_document(key, rest)
  if is_known(rest) then return end
  if layout.is_stub(key) then
    look_at_remains(":" .. rest, nil)
  else
    documents[#documents + 1] = key
  end
end

local function look_at_pointer(key, rest)
  local thread = layout.only_pointer_reading(rest)
  if thread and is_wanted(thread) and layout.dangling(key, thread) then
    pointers[#pointers + 1] = { thread, key }
  end
end

local function look_at_index(key)
  local thread = sub(key, #index_start + 1)
  if not is_wanted(thread) then return end
  local view, known = index.stored(key), 0
  for _, kind in ipairs({ entry.STANDING, entry.TASK }) do
    known = known + redis.call("ZLEXCOUNT", key, "[" .. kind, "(" .. entry.beyond(kind))
  end
  local oldest = view.up("[" .. entry.STANDING, "(" .. entry.beyond(entry.STANDING), 1)[1]
  local stale = known == 0
  if oldest then
    local fields = entry.fields(oldest)
    stale = redis.call("EXISTS", layout.checkpoint_key(thread, fields[1], fields[2])) == 0
  end
  indexes[#indexes + 1] = { thread, known, stale and 1 or 0 }
end

local families = {
  { layout.starts.document, look_at_document },
  { layout.starts.write, function(key, rest)
    local place = string.match(rest, "^(.*):[^:]*:[^:]*$")
    if place and redis.call("EXISTS", layout.starts.document .. place) == 0 then
      look_at_remains(":" .. place, key)
    end
  end },
  { layout.starts.registry, function(_, rest)
    if redis.call("EXISTS", layout.starts.document .. rest) == 0 then
      look_at_remains(":" .. rest, nil)
    end
  end },
  { layout.starts.latest, look_at_pointer },
}

local function look_at(key)
  if find(key, index_start, 1, true) == 1 then return look_at_index(key) end
  if indexes_only then return end
  for at = 1, #families do
    local start = families[at][1]
    if find(key, start, 1, true) == 1 then families[at][2](key, sub(key, #start + 1)) end
  end
end

local scanned = redis.call("SCAN", ARGV[4], "COUNT", ARGV[5])
for _, key in ipairs(scanned[2]) do
  look_at(key)
end
return { scanned[1], #scanned[2], documents, remains, pointers, indexes }
