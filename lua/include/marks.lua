-- marks: entries of a thread's index that are about the thread, and not about its checkpoints.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua

local marks = {}

-- The mark that shared keys may be left, nil without one.
local function of_shared_keys(key)
  local low, high = entry.range(entry.SHARED_KEYS_LEFT)
  return redis.call("ZRANGEBYLEX", key, low, high, "LIMIT", 0, 1)[1]
end

-- Sets another mark than there was before, `mark`, and answers it. At `maxmemory` a script may only
-- add once it has deleted.
local function set_after(key, mark)
  local now = clock.now_ms()
  if mark then now = math.max(now, entry.read_shared_keys_left(mark) + 1) end
  redis.call("ZREMRANGEBYLEX", key, entry.range(entry.SHARED_KEYS_LEFT))
  local new = entry.shared_keys_left(now)
  redis.call("ZADD", key, "0", new)
  return new
end

-- Marks the index at `key`, from which checkpoints were deleted, if the format has shared keys:
-- those of these checkpoints may be left. A search for them removes the mark
-- (sweep/shared_keys.lua).
function marks.shared_keys_left(key)
  if layout.shared_keys_named then set_after(key, of_shared_keys(key)) end
end

-- The mark of an index, and whether it has none before and gets this one: as long as it has that,
-- no checkpoint has been deleted.
function marks.begin_look(key)
  local mark = of_shared_keys(key)
  if mark then return mark, false end
  return set_after(key, nil), true
end

-- Whether an index still has a mark.
function marks.still_has(key, mark)
  return redis.call("ZSCORE", key, mark) ~= false
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
