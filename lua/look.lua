-- Looks at keys of the saver that a sweep cannot clear by their names alone, and says which of them
-- need something. Writes nothing.
--
-- KEYS     any     keys of the saver, of any threads: checkpoint documents, write documents,
--                  registries, pointers
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  a Lua pattern for the threads to look at
--
-- Reply    {{document…}, {{thread, suffix, write…}…}, {{thread, pointer}…}}
--          documents: checkpoints that no index knows
--          then what may be left of checkpoints that are gone: write documents, registries and
--          stubs without a checkpoint, by what their names have in common; pointers to nothing
--
-- Other keys it touches: documents of the checkpoints that the names speak of are looked for, and
-- indexes read (include/entry.lua).

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

layout.use(ARGV[2], ARGV[3])

local index_start, threads_wanted = ARGV[1], ARGV[4]
local documents, remains, pointers = {}, {}, {}
local find, sub = string.find, string.sub

local function is_wanted(thread)
  return find(thread, threads_wanted) ~= nil
end

-- Whether the index of `thread` knows a checkpoint.
local function is_indexed(thread, ns, id)
  local kind = layout.of_task(ns) and entry.TASK or entry.STANDING
  return #index.members_of(index.stored(index_start .. thread), kind, ns, id) > 0
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
  for _, family in ipairs(families) do
    local start, look_at_rest = family[1], family[2]
    if find(key, start, 1, true) == 1 then look_at_rest(key, sub(key, #start + 1)) end
  end
end

for _, key in ipairs(KEYS) do
  -- The caller has them from a SCAN, and may have trimmed since.
  if redis.call("EXISTS", key) == 1 then look_at(key) end
end
return { documents, remains, pointers }
