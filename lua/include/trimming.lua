-- trimming: trims one thread by one batch. Shared by trim.lua and track.lua.
--
-- Decide, collect what is to be deleted, delete it, bring the index up to date: in this order.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/marks.lua
--@include include/index.lua
--@include include/pins.lua
--@include include/decisions.lua
--@include include/batches.lua
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
local function replace_unread(batch, found)
  for member, members in pairs(found) do
    batch.forget(member)
    for _, read in ipairs(members) do batch.add(read) end
  end
end

-- Marks the index as one in which the next call may go on (include/continuation.lua).
local function mark(batch, token)
  batch.forget_range(entry.range(entry.MARK))
  batch.add(entry.MARK .. token)
end

-- Trims a thread by one batch of at most `limit` keys. `options`:
--   again            earlier calls of this trim have deleted already
--   complete         the index has all checkpoints of the thread
--   estimate_memory  estimate how much is freed
--   grace            milliseconds for which a leaf is retained
--   cursor           what the call before has answered, "" at the beginning
--   token            marks the index, "" when every call is to decide anew
-- Answers
--   {state =, checkpoints =, keys =, left =, bytes =, unsupported = {ns, id}, cursor =,
--    continuation = texts}
-- state: "done", "more" (call again) or "unsupported" (nothing was done, because of that
-- checkpoint); left: checkpoints in the index after it; bytes: of memory, estimated, -1 where the
-- server does not tell; cursor: where the next call goes on, nil at the end; continuation: what it
-- may go on with without deciding again, or nil.
function trimming.trim_batch(key, pins_key, thread, policy, limit, options)
  if layout.listed then return listed.trim_batch(key, pins_key, thread, policy, limit, options) end
  local view = index.stored(key)
  local decided = decisions.of_thread(view, thread, policy, pins.read(pins_key, thread), {
    at_end = false, complete = options.complete, most_unread = MOST_UNREAD,
    most_missing = MOST_MISSING, grace = options.grace, again = options.again,
  })
  if decided.unsupported then return left_alone(key, thread, decided.unsupported) end
  local batch, reader = batches.new(view, thread, limit), decided.reader
  batch.decisions = decided
  local cursor, ended_in = namespaces.delete(batch, options.cursor)
  local void = reader.exhausted or reader.unsupported
  if void then
    -- Some of it was decided on unread documents: the index learns what they say, and that is all.
    batch, cursor = batches.new(view, thread, limit), options.cursor
  end
  local done = cursor == nil
  replace_unread(batch, reader.found)
  marks.idle(decided, done, batch.add, batch.forget)
  local handed_on
  if options.token ~= "" then
    if not done and not void then handed_on = continuation.of(batch, ended_in, decided, policy) end
    if handed_on then mark(batch, options.token)
    elseif options.again then batch.forget(entry.MARK .. options.token) end
  end
  local left = batches.carry_out(batch, key, done, options.again, options.estimate_memory)
  if reader.unsupported then return left_alone(key, thread, reader.unsupported) end
  return { state = done and "done" or "more", checkpoints = batch.deletion.checkpoints,
    keys = batch.deletion.keys, left = left, bytes = batch.deletion.bytes, cursor = cursor,
    continuation = handed_on }
end

return trimming
