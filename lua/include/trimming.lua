-- trimming: one bounded step of trimming one thread. Shared by trim.lua and track.lua.
--
-- Decide, collect what is to be deleted, delete it, bring the index up to date: in this order.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/marks.lua
--@include include/index.lua
--@include include/pins.lua
--@include include/decisions.lua
--@include include/steps.lua
--@include include/namespaces.lua
--@include include/listed.lua
--@include include/continuation.lua

local trimming = {}

-- Documents that a call may read of which the index knows only the names, and entries of missing
-- checkpoints after which it leaves the others to the next call.
local MOST_UNREAD, MOST_MISSING = 60, 500

local function left_alone(key, thread, unsupported)
  return { state = "unsupported", checkpoints = 0, keys = 0, bytes = 0,
    left = index.checkpoints(key, thread), unsupported = unsupported }
end

-- Lets the index say what the documents say that were read, where it knew only their names.
local function replace_unread(step, found)
  for member, members in pairs(found) do
    step.forget(member)
    for _, read in ipairs(members) do step.add(read) end
  end
end

-- Marks the index as one in which the next call may go on (include/continuation.lua).
local function mark(step, token)
  step.forget_range(entry.range(entry.MARK))
  step.add(entry.MARK .. token)
end

-- Trims `thread` by one call's worth: `limit` is the number of keys that it may delete. `given`:
--   again            earlier calls of this trim have deleted already
--   complete         the index has all checkpoints of the thread
--   estimate_memory  estimate how much is freed
--   grace            milliseconds for which a leaf is retained
--   cursor           where the call before has come to, "" at the beginning
--   token            marks the index, "" when every call is to decide anew
-- Answers
--   {state =, checkpoints =, keys =, left =, bytes =, unsupported = {ns, id}, cursor =,
--    continuation = texts}
-- state: "done", "more" (call again) or "unsupported" (nothing was done, because of that
-- checkpoint); left: checkpoints in the index after it; bytes: of memory, estimated, -1 where the
-- server does not tell; cursor: where the next call goes on, nil at the end; continuation: what it
-- may go on with without deciding again, or nil.
function trimming.step(key, pins_key, thread, policy, limit, given)
  if layout.listed then return listed.step(key, pins_key, thread, policy, limit, given) end
  local view = index.stored(key)
  local decided = decisions.of_thread(view, thread, policy, pins.read(pins_key, thread), {
    at_end = false, complete = given.complete, most_unread = MOST_UNREAD,
    most_missing = MOST_MISSING, grace = given.grace, again = given.again,
  })
  if decided.unsupported then return left_alone(key, thread, decided.unsupported) end
  local step, reader = steps.new(view, thread, limit), decided.reader
  step.decisions = decided
  local cursor, ended_in = namespaces.delete(step, given.cursor)
  local void = reader.exhausted or reader.unsupported
  if void then
    -- Some of it was decided on unread documents: the index learns what they say, and that is all.
    step, cursor = steps.new(view, thread, limit), given.cursor
  end
  local done = cursor == nil
  replace_unread(step, reader.found)
  marks.idle(decided, done, step.add, step.forget)
  local handed_on
  if given.token ~= "" then
    if not done and not void then handed_on = continuation.of(step, ended_in, decided, policy) end
    if handed_on then mark(step, given.token)
    elseif given.again then step.forget(entry.MARK .. given.token) end
  end
  local left = steps.carry_out(step, key, done, given.again, given.estimate_memory)
  if reader.unsupported then return left_alone(key, thread, reader.unsupported) end
  return { state = done and "done" or "more", checkpoints = step.removal.checkpoints,
    keys = step.removal.keys, left = left, bytes = step.removal.bytes, cursor = cursor,
    continuation = handed_on }
end

return trimming
