-- shared_mark: notes in a thread's index that shared keys of checkpoints that are gone may be left.
-- A look at the database finds them (sweep/shared_keys.lua), and takes the mark away.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua

local shared_mark = {}

-- Marks an index from which checkpoints have gone, if the format has shared keys.
function shared_mark.set(key)
  if not layout.shared_keys_named then return end
  local kind = entry.SHARED_KEYS_LEFT
  redis.call("ZREMRANGEBYLEX", key, "[" .. kind, "(" .. entry.beyond(kind))
  redis.call("ZADD", key, "0", entry.shared_keys_left(clock.now_ms()))
end

return shared_mark
