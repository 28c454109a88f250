-- trimming: one bounded step of trimming one thread. Shared by trim.lua and track.lua.

local trimming = {}

-- Entries read at a time: about as many as there are checkpoints in a step.
local AHEAD, FEW, CHUNK = 64, 20, 200
-- Documents that a call may read of which the index knows only the names, and entries of
-- checkpoints that are gone after which it leaves the others to the next call.
local MOST_READ, MOST_GONE = 60, 500
-- A sorted set that was large stays large when it has become small, unless it is built anew: after
-- so many were taken from it, when so many are left that this costs less than a step.
local MANY_TAKEN, REBUILT = 50, 1000

local function in_chunks(list, run)
  for first = 1, #list, CHUNK do
    run({ unpack(list, first, math.min(first + CHUNK - 1, #list)) })
  end
end

-- Takes the namespace of an invocation, its pointer with the last of it.
local function take_invocation(step, ns)
  local names, prefix, whole = layout.names(step.thread, ns), entry.of(entry.TASK, ns), true
  index.each_up(step.view, "[" .. prefix, index.past(prefix), function(member)
    whole = step.removal.take(names, { (entry.id(member, prefix)) }, 1, 1) == 1
    if whole then step.forget(member) end
    return whole
  end)
  if not whole or not step.removal.take_pointer(layout.latest_key(step.thread, ns)) then
    return false
  end
  local by_namespace = entry.of(entry.BY_NAMESPACE, ns)
  index.each_up(step.view, "[" .. by_namespace, index.past(by_namespace), function(member)
    step.forget(member)
    step.forget(entry.of(entry.BY_ROOT, entry.fields(member)[2]) .. ns)
  end)
  step.forget(entry.of(entry.ROOTLESS, ns))
  local leaves = entry.of(entry.LEAF, ns)
  step.forget_range("[" .. leaves, index.past(leaves))
  return true
end

-- Whether a root that is still to be taken has started the namespace too: it goes with the last.
local function has_later_root(step, ns, root)
  for _, other in ipairs(step.judged.roots(ns)) do
    if bytes.less(root, other)
      and #index.members_of(step.view, entry.STANDING, "", other) > 0 then return true end
  end
  return false
end

-- Takes an invocation by its entry in the list of its root, which goes, if nothing else keeps it.
-- Answers false when (a part of) it is left for the next call.
local function take_if_over(step, member)
  local fields = entry.fields(member)
  local root, ns = fields[1], fields[2]
  if step.forgotten[member] then return true end
  local reasons = step.judged.invocation(ns)
  if reasons and (reasons[1] ~= "invocation" or step.judged.root_stays(root)) then return true end
  if not reasons and not has_later_root(step, ns, root) then return take_invocation(step, ns) end
  -- Another root keeps it. Once this one is gone it would look like one that is on its way.
  step.forget(member)
  step.forget(entry.of(entry.BY_NAMESPACE, ns) .. root)
  return true
end

local function root_of(member)
  return entry.fields(member)[1]
end

-- The invocations in the order of their roots, as the roots are met in theirs.
local function invocations(step)
  local first, past = "[" .. entry.BY_ROOT, "(" .. entry.beyond(entry.BY_ROOT)
  local waiting = index.reader(step.view, first, past, FEW)
  local self, passed = {}, false

  -- Takes what roots older than `oldest` have started; nil is newer than all.
  function self.take_older(oldest)
    local member = waiting.peek()
    while member and (not oldest or bytes.less(root_of(member), oldest)) do
      if not take_if_over(step, member) then return false end
      waiting.skip()
      member = waiting.peek()
    end
    return true
  end

  -- Takes what `root` has started, and passes over what roots below it have that nobody knows:
  -- they may be on their way as long as there is an older one.
  function self.take_of(root)
    local member = waiting.peek()
    while member do
      local its = root_of(member)
      if its ~= root then
        if not bytes.less(its, root) then return true end
        passed = true
      elseif not take_if_over(step, member) then
        return false
      end
      waiting.skip()
      member = waiting.peek()
    end
    return true
  end

  -- Whether there are any that have not been met yet.
  function self.any() return waiting.peek() ~= nil end

  -- Whether there are invocations of roots older than `oldest` that were not judged as such.
  function self.any_older(oldest)
    local member = waiting.peek()
    return passed or member ~= nil and bytes.less(root_of(member), oldest)
  end

  return self
end

-- Follows the beginnings of runs while checkpoints go: where the first checkpoint of a run is
-- taken, the run begins with the next one that remains.
local function run_marks(step)
  local self = { oldest = nil }
  local low = "[" .. entry.RUN .. step.judged.namespace("").unclear

  function self.remains(id)
    local here = entry.RUN .. id
    local beginning = step.view.up(low, "(" .. here, 1)[1]
    if beginning then
      step.forget_range("[" .. beginning, "(" .. here)
      if self.oldest then step.add(here) end
    end
    low = "(" .. here
    self.oldest = self.oldest or id
  end

  return self
end

-- Takes members[at] and those after it that do not stay, up to the first that does; answers where
-- that is, and whether all before it were taken whole.
local function take_run(step, members, ids, at, kept, take)
  local last = at
  while last < #ids and not kept[ids[last + 1]] do
    last = last + 1
  end
  local taken = take(ids, at, last)
  if taken > 0 then step.forget_range("[" .. members[at], "[" .. members[at + taken - 1]) end
  return at + taken, taken == last - at + 1
end

-- Takes what does not stay between two bounds, oldest first; false when (a part of) it is left
-- for the next call.
local function take_between(step, low, high, prefix, kept, take, remains)
  repeat
    local members = step.view.up(low, high, AHEAD)
    local ids, at, whole = (entry.ids(members, prefix)), 1, true
    while at <= #ids do
      if not kept[ids[at]] then at, whole = take_run(step, members, ids, at, kept, take) end
      if at <= #ids then remains(ids[at]) end
      if not whole then return false end
      at = at + 1
    end
    low = "(" .. (members[#members] or "")
  until #members < AHEAD
  return true
end

local function forget_leaf(step, ns, id)
  local leaf = entry.of(entry.LEAF, ns) .. id
  step.forget_range("[" .. leaf .. "\0", "(" .. leaf .. "\1")
end

-- Takes what does not stay of a namespace that counts by itself. `take(ids, first, last)` takes
-- checkpoints in turn and answers how many, `remains(id)` is told of those that are still there;
-- `oldest` is the oldest that the index knows.
local function take_standing(step, ns, oldest, take, remains)
  local verdict, space = step.judged.namespace(ns), decide.space(ns)
  local prefix = space.prefix
  if oldest and bytes.less(oldest, verdict.unclear) then remains(oldest) end
  local low, high = "[" .. prefix .. verdict.unclear, "(" .. prefix .. verdict.floor
  if not take_between(step, low, high, prefix, verdict.kept, take, remains) then return false end
  for _, id in ipairs(verdict.gone) do
    for _, member in ipairs(index.members_of(step.view, space.kind, ns, id)) do
      step.forget(member)
    end
  end
  for _, leaf in ipairs(verdict.leaves) do
    if leaf.gone or not verdict.stays(leaf.id) then forget_leaf(step, ns, leaf.id) end
  end
  if verdict.more_gone then return false end
  local first = step.view.up("[" .. prefix .. verdict.floor, index.past(prefix), 1)[1]
  if first then
    remains(entry.id(first, prefix))
  elseif step.judged.expired then
    return step.removal.take_pointer(layout.latest_key(step.thread, ns))
  end
  return true
end

-- The root namespace, with the invocations that its checkpoints have started.
local function take_root_namespace(step)
  local names, marks, started = layout.names(step.thread, ""), run_marks(step), invocations(step)
  local oldest = decide.first_id(step.view, decide.space(""))
  if not started.take_older(oldest) then return false end
  local take_checkpoints, take_of = step.removal.take, started.take_of
  local function take_alone(ids, first, last) return take_checkpoints(names, ids, first, last) end
  local function take_with_invocations(ids, first, last)
    for at = first, last do
      if take_checkpoints(names, ids, at, at) == 0 then return at - first end
      if not take_of(ids[at]) then return at - first end
    end
    return last - first + 1
  end
  local take = started.any() and take_with_invocations or take_alone
  if not take_standing(step, "", oldest, take, marks.remains) then return false end
  return marks.oldest == oldest or not marks.oldest or not started.any_older(marks.oldest)
end

local function take_other_namespace(step, ns)
  local names, take_checkpoints = layout.names(step.thread, ns), step.removal.take
  local function take(ids, first, last) return take_checkpoints(names, ids, first, last) end
  return take_standing(step, ns, nil, take, function() end)
end

local function take_all(step)
  if not take_root_namespace(step) then return false end
  for _, ns in ipairs(step.judged.namespaces()) do
    if ns ~= "" and not take_other_namespace(step, ns) then return false end
  end
  if not step.judged.expired then return true end
  for _, ns in ipairs(index.namespaces(step.view, entry.TASK)) do
    local first = index.first(step.view, entry.of(entry.TASK, ns))
    if not step.forgotten[first] and not take_invocation(step, ns) then return false end
  end
  return true
end

local function add_all(key, members)
  in_chunks(members, function(chunk)
    redis.call("ZADD", key, unpack(entry.scored(chunk)))
  end)
end

local function rebuild(key)
  local members = redis.call("ZRANGE", key, 0, -1)
  redis.call("UNLINK", key)
  add_all(key, members)
end

-- Deletes what was taken, then brings the index up to date: at `maxmemory` only a script that
-- has deleted may add.
local function settle(step, key, done, known_before)
  if known_before.weigh then step.removal.weigh() end
  step.removal.run()
  for _, range in ipairs(step.ranges) do
    redis.call("ZREMRANGEBYLEX", key, range[1], range[2])
  end
  in_chunks(step.forgets, function(chunk) redis.call("ZREM", key, unpack(chunk)) end)
  add_all(key, step.adds)
  local left = index.checkpoints(key)
  if left == 0 and done then
    redis.call("UNLINK", key)
  elseif done and left <= REBUILT
    and (known_before.again or step.removal.checkpoints > MANY_TAKEN) then
    rebuild(key)
  end
  return left
end

local function new_step(view, thread, judged, limit)
  local step = {
    view = view, thread = thread, judged = judged, removal = removal.new(limit),
    forgets = {}, forgotten = {}, ranges = {}, adds = {},
  }
  function step.forget(member)
    if not step.forgotten[member] then
      step.forgotten[member] = true
      step.forgets[#step.forgets + 1] = member
    end
  end
  -- Forgets all entries between two bounds.
  function step.forget_range(low, high)
    step.ranges[#step.ranges + 1] = { low, high }
  end
  function step.add(member)
    step.adds[#step.adds + 1] = member
  end
  return step
end

local function left_alone(key, where)
  return { state = "unjudged", checkpoints = 0, keys = 0, left = index.checkpoints(key), bytes = 0,
    where = where }
end

-- Lets the index say of checkpoints what their documents say, where it knew only their names.
local function replace_read(step, found)
  for member, members in pairs(found) do
    step.forget(member)
    for _, read in ipairs(members) do step.add(read) end
  end
end

-- Notes since when the thread has been idle, or that it is no longer.
local function note_idle(step, judged)
  local known = judged.idle_entry
  if known and not judged.idle then step.forget(known) end
  if judged.idle and not judged.expired and not known then
    step.add(entry.idle(clock.now_ms()))
  end
end

-- Trims `thread` by one call's worth. `limit` is the number of keys that a call may delete. What
-- is known: {again = whether earlier calls of this trim have deleted already, complete = whether
-- the index has all checkpoints of the thread, weigh = whether to estimate what is freed, grace =
-- milliseconds for which a leaf stays}. Answers
--   {state =, checkpoints =, keys =, left =, bytes =, where = {ns, id}}
-- state: "done", "more" (call again) or "unjudged" (nothing was done, for what stands `where`);
-- left: the checkpoints that the index knows after it; bytes: of memory, estimated, -1 where the
-- server does not tell.
function trimming.step(key, pins_key, thread, policy, limit, what_is_known)
  local view = index.stored(key)
  local judged = decide.thread(view, thread, policy, pins.read(pins_key), {
    settled = false, complete = what_is_known.complete, unread = MOST_READ, gone = MOST_GONE,
    grace = what_is_known.grace, again = what_is_known.again,
  })
  if judged.unjudged then return left_alone(key, judged.unjudged) end
  local step, reading = new_step(view, thread, judged, limit), judged.reading
  local done = take_all(step)
  if reading.short or reading.unjudged then
    step, done = new_step(view, thread, judged, limit), false
  end
  replace_read(step, reading.found)
  note_idle(step, judged)
  local left = settle(step, key, done, what_is_known)
  if reading.unjudged then return left_alone(key, reading.unjudged) end
  return { state = done and "done" or "more", checkpoints = step.removal.checkpoints,
    keys = step.removal.keys, left = left, bytes = step.removal.bytes }
end

return trimming
