-- batches: what one call of a trim deletes, and how it changes the index. Shared by
-- include/trimming.lua and continue.lua.

--@include include/entry.lua
--@include include/index.lua
--@include include/lists.lua
--@include include/deletion.lua
--@include include/marks.lua

local batches = {}

-- A sorted set keeps its memory when it becomes small, so it is built anew: after so many
-- checkpoints were deleted, when so few are left that this costs less than a call of a trim.
local MANY_DELETED, FEW_LEFT = 50, 1000

-- A new batch, which deletes at most `limit` keys. `mean` is what include/deletion.lua takes.
function batches.new(view, thread, limit, mean)
  local batch = {
    view = view, thread = thread, deletion = deletion.new(limit, mean),
    forgets = {}, forgotten = {}, ranges = {}, adds = {},
  }
  -- Lets the index forget an entry.
  function batch.forget(member)
    if not batch.forgotten[member] then
      batch.forgotten[member] = true
      batch.forgets[#batch.forgets + 1] = member
    end
  end
  -- Lets it forget all entries between two bounds.
  function batch.forget_range(low, high)
    batch.ranges[#batch.ranges + 1] = { low, high }
  end
  function batch.add(member)
    batch.adds[#batch.adds + 1] = member
  end
  return batch
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
function batches.carry_out(batch, key, done, again, estimate_memory)
  if estimate_memory then batch.deletion.estimate_memory() end
  batch.deletion.run()
  for _, range in ipairs(batch.ranges) do
    redis.call("ZREMRANGEBYLEX", key, range[1], range[2])
  end
  lists.in_parts(batch.forgets, function(...) redis.call("ZREM", key, ...) end)
  add_all(key, batch.adds)
  if batch.deletion.checkpoints > 0 then marks.shared_keys_left(key) end
  local left = index.checkpoints(key, batch.thread)
  if left == 0 and done then
    redis.call("UNLINK", key)
  elseif done and left <= FEW_LEFT and (again or batch.deletion.checkpoints > MANY_DELETED) then
    rebuild(key)
  end
  return left
end

return batches
