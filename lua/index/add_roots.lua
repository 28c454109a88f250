-- Adds root checkpoints of one thread to its index by their names, unread: what is about to be
-- deleted need not be read. Those are added whose documents say that they are of this thread, and
-- nothing that this version does not understand.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), added to
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  how many ids follow
-- then     the ids, oldest first, and for each the number of its write documents that were seen
--
-- Reply    {status…}, one for each id: "checkpoint" and "unregistered" as in include/indexing.lua,
--          "skipped" where it was not added
--
-- Other keys it touches: the documents of these checkpoints are read, and registries counted where
-- writes were seen.

--@include layouts/${layout}.lua
--@include include/indexing.lua

local FIRST_ID = 5
local index_key, thread, count = KEYS[1], ARGV[1], tonumber(ARGV[4])
local ids, first_writes = { unpack(ARGV, FIRST_ID, FIRST_ID + count - 1) }, FIRST_ID + count
layout.use(ARGV[2], ARGV[3])

local added, statuses = indexing.add_roots(index_key, thread, ids), {}
local starts = layout.key_starts(thread, "")
for at, id in ipairs(ids) do
  local writes_seen = tonumber(ARGV[first_writes + at - 1])
  statuses[at] = added[id] and indexing.status(starts, id, writes_seen) or "skipped"
end
return statuses
