-- marks: entries of a thread's index that are about the thread, and not about its checkpoints.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua

local marks = {}

-- Marks the index at `key`, from which checkpoints were deleted, if the format has shared keys:
-- those of these checkpoints may be left. A search for them removes the mark
-- (sweep/shared_keys.lua).
function marks.shared_keys_left(key)
  if not layout.shared_keys_named then return end
  redis.call("ZREMRANGEBYLEX", key, entry.range(entry.SHARED_KEYS_LEFT))
  redis.call("ZADD", key, "0", entry.shared_keys_left(clock.now_ms()))
end

-- Lets an index say since when its thread has been idle, until the last call that deletes it.
-- `decided` is what include/decisions.lua has answered, `done` whether this call is the last;
-- `add` and `forget` take an index entry.
function marks.idle(decided, done, add, forget)
  local known = decided.idle_entry
  if known and not decided.is_idle then forget(known) end
  if decided.is_idle and not (decided.is_expired and done) and not known then
    add(entry.idle(clock.now_ms()))
  end
end

return marks
