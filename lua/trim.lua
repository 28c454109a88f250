-- Trims one indexed thread: deletes what the policy gives up, with all that belongs to it.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua); also deleted from and rebuilt
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  keys that this call may delete, at least 10
-- ARGV[5]  1 when an earlier call of the same trim has said "more", else 0
-- ARGV[6]  1 when the index is known to have all of the thread's checkpoints, else 0
-- ARGV[7]  1 to estimate how much memory is freed, else 0
-- ARGV[8]  1 to count the keys of what is left, else 0
-- ARGV[9]  milliseconds for which a leaf stays
-- ARGV[10]… the policy, five values (include/policy.lua)
-- then     ids of root checkpoints that the index may not know, oldest first: those that are this
--          thread's go into it unread
--
-- Reply    {state, checkpoints deleted, keys deleted (the checkpoints with them), checkpoints
--          left in the index, ns, id, bytes freed, keys left}
--          state "done": nothing is left to delete; "more": call again, after this reply;
--          "unjudged": nothing was done, because of checkpoint {ns, id}
--          bytes freed: 0 when that was not asked, -1 where the server does not tell
--          keys left: as in include/counting.lua; 0 when that was not asked
--
-- Other keys it touches are the saver's, of this thread only (the layout names them all): reads
-- checkpoint documents, pointers and registries; deletes checkpoint and write documents,
-- registries, and the pointers of namespaces in which nothing is left.
--
-- Every call alone leaves the thread in order. A thread without an index is left as it is.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/indexing.lua
--@include include/counting.lua
--@include include/decide.lua
--@include include/pins.lua
--@include include/memory.lua
--@include include/removal.lua
--@include include/trimming.lua
--@include include/policy.lua

local POLICY, NAMES = 10, 15

layout.use(ARGV[2], ARGV[3])
if #ARGV >= NAMES then indexing.add_names(KEYS[1], ARGV[1], { unpack(ARGV, NAMES) }) end
local result = trimming.step(KEYS[1], KEYS[2], ARGV[1], policy.read(ARGV, POLICY),
  tonumber(ARGV[4]),
  { again = ARGV[5] == "1", complete = ARGV[6] == "1", weigh = ARGV[7] == "1",
    grace = tonumber(ARGV[9]) })
local where = result.where or { "", "" }
return { result.state, result.checkpoints, result.keys, result.left, where[1], where[2],
  result.bytes, ARGV[8] == "1" and counting.root_keys(KEYS[1], ARGV[1]) or 0 }
