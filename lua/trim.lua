-- Trims one indexed thread: deletes what is not retained, with all that belongs to it.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua); also deleted from and rebuilt
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  keys that this call may delete, at least 10
-- ARGV[5]  1 to estimate how much memory is freed, else 0
-- ARGV[6]  1 to count the keys of what is left, else 0
-- ARGV[7]  a text by which this trim is told from all others, "" when no call is to go on with what
--          another has decided
-- ARGV[8]  1 when an earlier call of the same trim has deleted already, else 0
-- ARGV[9]  1 when the index is known to have all of the thread's checkpoints, else 0
-- ARGV[10] milliseconds for which a leaf is retained
-- ARGV[11] what the call before has replied as next, "" for the first call
-- ARGV[12]… the policy, five values (include/policy.lua)
-- then     ids of root checkpoints that the index may not know, in their order, oldest or newest
--          first: those that are this thread's are added to it unread
--
-- Reply    {state, checkpoints deleted, keys deleted (the checkpoints with them), checkpoints
--          left in the index, bytes freed, keys left, ns, id, next, what continue.lua needs…}
--          state "done": nothing is left to delete; "more": call continue.lua or, where nothing is
--          handed on to it, this again, after this reply; "unsupported": nothing was done, because
--          of checkpoint {ns, id}
--          bytes freed: 0 when that was not asked, -1 where the server does not tell
--          keys left: as in include/counting.lua; 0 when that was not asked
--          next: what to give as ARGV[11] to the next call of this script
--          what continue.lua needs: as it is, see include/continuation.lua
--
-- Other keys it touches are the saver's, of this thread only (the layout names them all): reads
-- checkpoint documents, pointers and registries; deletes checkpoint and write documents,
-- registries, and the pointers of namespaces in which nothing is left.
--
-- After every single call the safety rules hold. A thread without an index is left as it is.

--@include layouts/${layout}.lua
--@include include/indexing.lua
--@include include/counting.lua
--@include include/trimming.lua
--@include include/policy.lua

local index_key, pins_key, thread = KEYS[1], KEYS[2], ARGV[1]
local limit, estimate_memory, count_left = tonumber(ARGV[4]), ARGV[5] == "1", ARGV[6] == "1"
local token, again, complete = ARGV[7], ARGV[8] == "1", ARGV[9] == "1"
local grace, cursor, wanted = tonumber(ARGV[10]), ARGV[11], policy.read(ARGV, 12)
local new_roots = { unpack(ARGV, 17) }
layout.use(ARGV[2], ARGV[3])

if #new_roots > 0 then indexing.add_roots(index_key, thread, new_roots) end
local result = trimming.trim_batch(index_key, pins_key, thread, wanted, limit,
  { again = again, complete = complete, estimate_memory = estimate_memory, grace = grace,
    token = token, cursor = cursor })
local unsupported = result.unsupported or { "", "" }
return { result.state, result.checkpoints, result.keys, result.left, result.bytes,
  count_left and counting.root_keys(index_key, thread) or 0, unsupported[1], unsupported[2],
  result.cursor or "",
  unpack(result.continuation or {}) }
