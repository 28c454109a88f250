-- Counts the keys of a thread that its index knows. Writes nothing.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
--
-- Reply    {checkpoints in the index, keys of the root checkpoints (include/counting.lua)}
--
-- Other keys it touches: the registries of these checkpoints are counted.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/counting.lua

layout.use(ARGV[2], ARGV[3])
return { index.checkpoints(KEYS[1]), counting.root_keys(KEYS[1], ARGV[1]) }
