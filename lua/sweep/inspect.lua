-- Inspects keys of the saver that a sweep cannot clear by their names alone, and says which of them
-- need something. Writes nothing.
--
-- KEYS     any     keys of the saver, of any threads: checkpoint documents, write documents,
--                  registries, pointers
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  a pattern for the threads to inspect (include/glob.lua)
--
-- Reply    {{document…}, {{thread, suffix, write…}…}, {{thread, pointer}…}, {thread…}}
--          documents: checkpoints that no index knows
--          then possible orphans: write documents, registries and stubs without a checkpoint, by
--          what their names have in common; pointers to nothing. The thread is "" where nothing
--          says it
--          then threads without an index that have shared keys
--
-- Other keys it touches: reads whether the checkpoints that the names speak of exist, and indexes
-- (include/entry.lua).

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/glob.lua

local index_start, threads_wanted = ARGV[1], glob.parse(ARGV[4])
layout.use(ARGV[2], ARGV[3])

local documents, orphans, pointers, sharing = {}, {}, {}, {}

local function is_wanted(thread)
  return glob.matches(threads_wanted, thread)
end

-- Whether the index of `thread` knows a checkpoint.
local function is_indexed(thread, ns, id)
  local kind, view = entry.kind(layout.has_task_id(ns)), index.stored(index_start .. thread)
  local ok, members = pcall(index.members_of, view, kind, ns, id)
  return ok and #members > 0
end

-- Whether a document is in an index: its name says so of a root checkpoint, the document itself of
-- any other.
local function is_known(key)
  local thread, id = layout.root_of_key(key)
  if thread and is_indexed(thread, "", id) then return true end
  local owner, ns, its_id = layout.owner(key)
  return owner ~= nil and is_indexed(owner, ns, its_id)
end

-- Whether all threads are wanted that a place may speak of: what is not asked for is not touched.
local function are_all_wanted(place)
  local wanted = true
  local all = layout.each_reading(place, function(thread)
    wanted = is_wanted(thread)
    return not wanted
  end)
  return all and wanted
end

-- What has no checkpoint: with its thread where a write document says it, else "".
local function inspect_orphan(suffix, write)
  local owner = write and layout.write_owner(write) or layout.registry_owner(suffix)
  if owner == false then return end
  local place = layout.split_suffix(suffix)
  if owner and is_wanted(owner) or not owner and are_all_wanted(place) then
    orphans[#orphans + 1] = { owner or "", suffix, write }
  end
end

-- The thread of a document that a shallow saver has left of an invocation, nil for any other.
local function finished_thread(key)
  local thread = layout.finished and layout.finished(key, 1)
  return thread and is_wanted(thread) and thread or nil
end

local inspect = {
  checkpoint = function(key, suffix)
    if is_known(key) then return end
    if layout.is_stub(key) then
      inspect_orphan(suffix, nil)
    elseif finished_thread(key) then
      pointers[#pointers + 1] = { finished_thread(key), key }
    else
      documents[#documents + 1] = key
    end
  end,
  write = function(key, suffix)
    if not layout.has_checkpoint(suffix) then inspect_orphan(suffix, key) end
  end,
  registry = function(_, suffix)
    if not layout.has_checkpoint(suffix) then inspect_orphan(suffix, nil) end
  end,
  shared = function(key)
    layout.each_shared_key_owner({ key }, function(_, owner)
      if is_wanted(owner) and redis.call("EXISTS", index_start .. owner) == 0 then
        sharing[#sharing + 1] = owner
      end
    end)
  end,
  latest = function(key, place)
    if layout.dangling(key) and are_all_wanted(place) then
      pointers[#pointers + 1] = { "", key }
    end
  end,
}

for _, key in ipairs(KEYS) do
  -- The caller has them from a SCAN, and may have trimmed since.
  if redis.call("EXISTS", key) == 1 then
    for _, family in ipairs(layout.families(key)) do inspect[family[1]](key, family[2]) end
  end
end
return { documents, orphans, pointers, sharing }
