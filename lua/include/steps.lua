-- steps: one call's worth of a trim, first what it has collected, then what becomes of the index.
-- Shared by include/trimming.lua and continue.lua.

--@include include/entry.lua
--@include include/index.lua
--@include include/lists.lua
--@include include/removal.lua
--@include include/marks.lua

local steps = {}

-- A sorted set that was large stays large when it has become small, unless it is built anew: after
-- so many checkpoints were deleted, when so few are left that this costs less than a step.
local MANY_DELETED, FEW_LEFT = 50, 1000

-- A new step, which deletes at most `limit` keys. `mean` is what include/removal.lua takes.
function steps.new(view, thread, limit, mean)
  local step = {
    view = view, thread = thread, removal = removal.new(limit, mean),
    forgets = {}, forgotten = {}, ranges = {}, adds = {},
  }
  -- Lets the index forget an entry.
  function step.forget(member)
    if not step.forgotten[member] then
      step.forgotten[member] = true
      step.forgets[#step.forgets + 1] = member
    end
  end
  -- Lets it forget all entries between two bounds.
  function step.forget_range(low, high)
    step.ranges[#step.ranges + 1] = { low, high }
  end
  function step.add(member)
    step.adds[#step.adds + 1] = member
  end
  return step
end

local function add_all(key, members)
  lists.in_parts(members, function(...)
    redis.call("ZADD", key, unpack(entry.scored({ ... })))
  end)
end

local function rebuild(key)
  local members = redis.call("ZRANGE", key, 0, -1)
  redis.call("UNLINK", key)
  add_all(key, members)
end

-- Deletes what was collected, then brings the index up to date: at `maxmemory` only a script that
-- has deleted may add. `done` says that this is the end of the trim, `again` that earlier calls of
-- it have deleted already. Answers how many checkpoints the index has left.
function steps.carry_out(step, key, done, again, estimate_memory)
  if estimate_memory then step.removal.estimate_memory() end
  step.removal.run()
  for _, range in ipairs(step.ranges) do
    redis.call("ZREMRANGEBYLEX", key, range[1], range[2])
  end
  lists.in_parts(step.forgets, function(...) redis.call("ZREM", key, ...) end)
  add_all(key, step.adds)
  if step.removal.checkpoints > 0 then marks.shared_keys_left(key) end
  local left = index.checkpoints(key, step.thread)
  if left == 0 and done then
    redis.call("UNLINK", key)
  elseif done and left <= FEW_LEFT and (again or step.removal.checkpoints > MANY_DELETED) then
    rebuild(key)
  end
  return left
end

return steps
