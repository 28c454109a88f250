-- trimming: one bounded step of trimming one thread. Shared by trim.lua and track.lua.
--
-- Decide, collect what is to be deleted, delete it, bring the index up to date: in this order.

--@include include/clock.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/lists.lua
--@include include/pins.lua
--@include include/decisions.lua
--@include include/removal.lua
--@include include/shared_mark.lua
--@include include/namespaces.lua

local trimming = {}

-- Documents that a call may read of which the index knows only the names, and entries of missing
-- checkpoints after which it leaves the others to the next call.
local MOST_UNREAD, MOST_MISSING = 60, 500
-- A sorted set that was large stays large when it has become small, unless it is built anew: after
-- so many checkpoints were deleted, when so few are left that this costs less than a step.
local MANY_DELETED, FEW_LEFT = 50, 1000

local function new_step(view, thread, decided, limit)
  local step = {
    view = view, thread = thread, decisions = decided, removal = removal.new(limit),
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
-- has deleted may add. Answers how many checkpoints the index has left.
local function carry_out(step, key, done, given)
  if given.estimate_memory then step.removal.estimate_memory() end
  step.removal.run()
  for _, range in ipairs(step.ranges) do
    redis.call("ZREMRANGEBYLEX", key, range[1], range[2])
  end
  lists.in_parts(step.forgets, function(...) redis.call("ZREM", key, ...) end)
  add_all(key, step.adds)
  if step.removal.checkpoints > 0 then shared_mark.set(key) end
  local left = index.checkpoints(key)
  if left == 0 and done then
    redis.call("UNLINK", key)
  elseif done and left <= FEW_LEFT
    and (given.again or step.removal.checkpoints > MANY_DELETED) then
    rebuild(key)
  end
  return left
end

local function left_alone(key, place)
  return { state = "unsupported", checkpoints = 0, keys = 0, left = index.checkpoints(key),
    bytes = 0, place = place }
end

-- Lets the index say what the documents say that were read, where it knew only their names.
local function replace_unread(step, found)
  for member, members in pairs(found) do
    step.forget(member)
    for _, read in ipairs(members) do step.add(read) end
  end
end

-- Lets the index say since when the thread has been idle, or no longer say so.
local function mark_idle(step)
  local decided = step.decisions
  local known = decided.idle_entry
  if known and not decided.is_idle then step.forget(known) end
  if decided.is_idle and not decided.is_expired and not known then
    step.add(entry.idle(clock.now_ms()))
  end
end

-- Trims `thread` by one call's worth: `limit` is the number of keys that it may delete. `given`:
--   again            earlier calls of this trim have deleted already
--   complete         the index has all checkpoints of the thread
--   estimate_memory  estimate how much is freed
--   grace            milliseconds for which a leaf is retained
-- Answers
--   {state =, checkpoints =, keys =, left =, bytes =, place = {ns, id}}
-- state: "done", "more" (call again) or "unsupported" (nothing was done, because of the checkpoint
-- at `place`); left: checkpoints in the index after it; bytes: of memory, estimated, -1 where the
-- server does not tell.
function trimming.step(key, pins_key, thread, policy, limit, given)
  local view = index.stored(key)
  local decided = decisions.of_thread(view, thread, policy, pins.read(pins_key), {
    at_end = false, complete = given.complete, most_unread = MOST_UNREAD,
    most_missing = MOST_MISSING, grace = given.grace, again = given.again,
  })
  if decided.unsupported then return left_alone(key, decided.unsupported) end
  local step, reader = new_step(view, thread, decided, limit), decided.reader
  local done = namespaces.delete(step)
  if reader.exhausted or reader.unsupported then
    -- Some of it was decided on unread documents: the index learns what they say, and that is all.
    step, done = new_step(view, thread, decided, limit), false
  end
  replace_unread(step, reader.found)
  mark_idle(step)
  local left = carry_out(step, key, done, given)
  if reader.unsupported then return left_alone(key, reader.unsupported) end
  return { state = done and "done" or "more", checkpoints = step.removal.checkpoints,
    keys = step.removal.keys, left = left, bytes = step.removal.bytes }
end

return trimming
