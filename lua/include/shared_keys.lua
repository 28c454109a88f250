-- shared_keys: which of a thread's shared keys no checkpoint needs.
--
-- A shared key, a blob for each version of a channel say, belongs to no single checkpoint. Whatever
-- exists may be read, and may be forked, and a fork then names what its parent names. So a shared
-- key is over only when no document that exists names it, whether it has the value itself or not;
-- and its writer is gone for good, since writers put shared keys before their documents.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/memory.lua

local shared_keys = {}

-- Below this size one key in so many is measured, and the first of each group.
local LARGE, SAMPLED = 16 * 1024, 16

-- Calls `visit(key, group)` for those to delete, and answers how many may belong to a checkpoint
-- that is still to come. It skips keys of other threads, and of checkpoints that exist.
-- `was_there(id)` says of a checkpoint that it was there and is not, or, when `counting`, that it
-- would be deleted; for all others an age of `age` milliseconds is the proof.
function shared_keys.each_over(thread, candidates, was_there, age, counting, visit)
  local now, waiting, known = clock.now_ms(), 0, {}

  -- What is known of the checkpoint that has written a shared key: "gone" for good, "there", or
  -- perhaps on its way.
  local function state_of(ns, id)
    if counting and was_there(id) then return "gone" end
    if redis.call("EXISTS", layout.checkpoint_key(thread, ns, id)) == 1 then return "there" end
    local made = clock.of_id(id)
    if made and now - made >= age or was_there(id) then return "gone" end
    return "waiting"
  end

  -- Most of them were written a few by each checkpoint.
  local function known_state(ns, id)
    local of_ns = known[ns]
    if not of_ns then
      of_ns = {}
      known[ns] = of_ns
    end
    local state = of_ns[id]
    if not state then
      state = state_of(ns, id)
      of_ns[id] = state
    end
    return state
  end

  layout.each_shared_key_owner(candidates, function(key, owner, ns, id, group)
    if owner ~= thread then return end
    local state = known_state(ns, id)
    if state == "gone" then
      visit(key, group)
    elseif state == "waiting" then
      waiting = waiting + 1
    end
  end)
  return waiting
end

-- Keeps to the bytes that a call may free.
function shared_keys.allowance()
  local self, used, sizes, left_of, blind = {}, 0, {}, {}, false

  -- Measures a key that speaks for those of its group that come after it.
  local function measure(key, group)
    local size = memory.of(key)
    blind = not size
    sizes[group], left_of[group] = size or 0, size and size < LARGE and SAMPLED or 1
  end

  -- Whether one more key may be deleted. The first always may.
  function self.has_room(key, group)
    if blind then return true end
    local left = left_of[group] or 0
    if left == 0 then
      measure(key, group)
      left = left_of[group]
    end
    left_of[group] = left - 1
    local size = sizes[group]
    if used + size > memory.MOST_FREED and used > 0 then return false end
    used = used + size
    return true
  end

  -- The bytes of those that it had room for, estimated; 0 where the server does not tell.
  function self.used() return used end

  return self
end

return shared_keys
