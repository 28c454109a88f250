-- Deletes what is ours of a thread that is gone: its pins, and its index.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua)
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
--
-- Reply    1 when the thread is gone, else 0
--
-- Other keys it touches: the thread's latest pointer, what that names, and the documents of pinned
-- checkpoints are looked for.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/pins.lua

layout.use(ARGV[2], ARGV[3])
if not pins.outlive(KEYS[1], KEYS[2], ARGV[1]) then return 0 end
redis.call("UNLINK", KEYS[1], KEYS[2])
return 1
