-- Looks at keys of the saver that a sweep cannot clear by their names alone, and says which of them
-- need something. Writes nothing.
--
-- KEYS     any     keys of the saver, of any threads: checkpoint documents, write documents,
--                  registries, pointers
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  a pattern for the threads to look at (include/glob.lua)
--
-- Reply    {{document…}, {{thread, suffix, write…}…}, {{thread, pointer}…}}
--          documents: checkpoints that no index knows
--          then what may be left of checkpoints that are gone: write documents, registries and
--          stubs without a checkpoint, by what their names have in common; pointers to nothing.
--          The thread is "" where nothing says it
--
-- Other keys it touches: documents of the checkpoints that the names speak of are looked for, and
-- indexes read (include/entry.lua).

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/glob.lua

layout.use(ARGV[2], ARGV[3])

local index_start, threads_wanted = ARGV[1], glob.parse(ARGV[4])
local documents, remains, pointers = {}, {}, {}
local find, sub = string.find, string.sub

local function is_wanted(thread)
  return glob.matches(threads_wanted, thread)
end

-- Whether the index of `thread` knows a checkpoint.
local function is_indexed(thread, ns, id)
  local kind = layout.of_task(ns) and entry.TASK or entry.STANDING
  local view = index.stored(index_start .. thread)
  local fine, members = pcall(index.members_of, view, kind, ns, id)
  return fine and #members > 0
end

-- Whether a document is in an index: its name says so of a root checkpoint, the document itself of
-- any other.
local function is_known(key, rest)
  local thread, id = layout.root_reading(rest)
  if thread and is_indexed(thread, "", id) then return true end
  local owner, ns, its_id = layout.owner(key)
  return owner ~= nil and is_indexed(owner, ns, its_id)
end

-- Whether all threads are wanted that a place, ":{thread}:{ns}", may speak of: what is not looked
-- for is not touched.
local function are_all_wanted(place)
  local wanted = true
  local all = layout.each_reading(place, function(thread)
    wanted = is_wanted(thread)
    return not wanted
  end)
  return all and wanted
end

-- What is left without a checkpoint: with its thread where a write document says it, else "".
local function look_at_remains(suffix, write)
  local owner = write and layout.write_owner(write) or layout.registry_owner(suffix)
  local place = string.match(suffix, "^(.*):[^:]*$")
  if owner and is_wanted(owner) or not owner and are_all_wanted(place) then
    remains[#remains + 1] = { owner or "", suffix, write }
  end
end

local function look_at_document(key, rest)
  if is_known(key, rest) then return end
  if layout.is_stub(key) then
    look_at_remains(":" .. rest, nil)
  else
    documents[#documents + 1] = key
  end
end

local function look_at_pointer(key, rest)
  if layout.dangling(key) and are_all_wanted(":" .. rest) then
    pointers[#pointers + 1] = { "", key }
  end
end

local function is_missing(rest)
  local key = layout.starts.document .. rest
  return redis.call("EXISTS", key) == 0 or layout.is_stub(key)
end

local families = {
  { layout.starts.document, look_at_document },
  { layout.starts.write, function(key, rest)
    local place = string.match(rest, "^(.*):[^:]*:[^:]*$")
    if place and is_missing(place) then
      look_at_remains(":" .. place, key)
    end
  end },
  { layout.starts.registry, function(_, rest)
    if is_missing(rest) then look_at_remains(":" .. rest, nil) end
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
