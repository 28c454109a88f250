-- Deletes the shared keys of one thread that no checkpoint needs (include/shared_keys.lua). The
-- caller brings those that no document names (sweep/shared_names.lua), of all that a SCAN has found
-- that began after the last deletion in the thread.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  milliseconds after which a shared key is over whose writer has no document, the
--          difference of clocks with them
-- ARGV[5]  1 to count those that are over, 0 to delete them
-- ARGV[6]  the mark that the index had when the SCAN began (sweep/begin_look.lua); any when this
--          counts
-- ARGV[7]  ids of checkpoints that were there and are gone, or, when this counts, that would be
--          deleted; parted by NUL
-- then     the shared keys in question
--
-- Reply    {keys deleted, keys too young to delete, {key…}, bytes freed}
--          keys: what is left to the next call, since this one frees enough
--          bytes freed: estimated, 0 where the server does not tell
--          nil when checkpoints have been deleted since the SCAN began: what they named may be
--          named by others that it has missed
--
-- Other keys it touches: reads and deletes the shared keys; reads whether the checkpoints that
-- wrote them exist.

--@include layouts/${layout}.lua
--@include include/lists.lua
--@include include/marks.lua
--@include include/shared_keys.lua

local thread, age, counting, mark = ARGV[1], tonumber(ARGV[4]), ARGV[5] == "1", ARGV[6]
layout.use(ARGV[2], ARGV[3])

if not counting and not marks.still_has(KEYS[1], mark) then return false end

-- Whether a checkpoint was there and is gone. Most are old, and are not asked about: so the ids, of
-- which there may be many, are read when the first is.
local ids_gone
local function was_there(id)
  if not ids_gone then
    ids_gone = {}
    for one in string.gmatch(ARGV[7], "%Z+") do ids_gone[one] = true end
  end
  return ids_gone[id] or false
end

local over, left, full, allowance = {}, {}, false, shared_keys.allowance()
local has_room = allowance.has_room
local function sort(key, group)
  full = full or not counting and not has_room(key, group)
  local list = full and left or over
  list[#list + 1] = key
end
local candidates = { unpack(ARGV, 8) }
local waiting = shared_keys.each_over(thread, candidates, was_there, age, counting, sort)
local deleted = counting and #over or lists.total("UNLINK", over)
return { deleted, waiting, left, allowance.used() }
