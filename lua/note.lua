-- Takes root checkpoints of one thread into its index by their names: what is about to go need not
-- be read. Those are taken whose documents say that they are of this thread, and nothing that this
-- version does not understand.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), added to
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  how many ids follow
-- then     the ids, oldest first, and for each the number of its write documents that were seen
--
-- Reply    letters, one for each id: "r" and "u" as in include/indexing.lua, "-" where it was not
--          taken
--
-- Other keys it touches: the documents of these checkpoints are read, and registries counted where
-- writes were seen.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/indexing.lua

local FIRST = 5

layout.use(ARGV[2], ARGV[3])
local thread, count = ARGV[1], tonumber(ARGV[4])
local ids = { unpack(ARGV, FIRST, FIRST + count - 1) }
local taken, letters = indexing.add_names(KEYS[1], thread, ids), {}
for at, id in ipairs(ids) do
  local writes = tonumber(ARGV[FIRST + count + at - 1])
  letters[at] = taken[id] and indexing.letter(thread, "", id, writes) or "-"
end
return table.concat(letters)
