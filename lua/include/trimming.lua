-- trimming: one bounded step of trimming one thread. Shared by trim.lua and track.lua.

local trimming = {}

local AHEAD, FEW = 200, 20
-- A sorted set that was large stays large when it has become small, unless it is built anew.
-- Up to this many entries that costs less than a step.
local REBUILT = 1000

local function in_chunks(list, run)
  for first = 1, #list, AHEAD do
    run({ unpack(list, first, math.min(first + AHEAD - 1, #list)) })
  end
end

-- Takes the namespace of an invocation, its pointer with the last of it.
local function take_invocation(step, ns)
  local names, prefix, whole = layout.names(step.thread, ns), entry.of(entry.TASK, ns), true
  index.each_up(step.view, "[" .. prefix, index.past(prefix), function(member)
    whole = step.removal.take_checkpoint(names, entry.id(member, prefix))
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

-- Takes an invocation by its entry in the list of its root, if it does not stay. Answers false
-- when (a part of) it is left for the next call.
local function take_if_over(step, member)
  local fields = entry.fields(member)
  local root, ns = fields[1], fields[2]
  if step.forgotten[member] or step.judged.invocation(ns) then return true end
  if not has_later_root(step, ns, root) then return take_invocation(step, ns) end
  -- Once this root is gone it would look like one that is still on its way.
  step.forget(member)
  step.forget(entry.of(entry.BY_NAMESPACE, ns) .. root)
  return true
end

local function all_of(step, kind, from)
  return index.reader(step.view, "[" .. kind .. from, "(" .. entry.beyond(kind), FEW)
end

local function root_of(member)
  return entry.fields(member)[1]
end

-- The invocations in the order of their roots, as the roots are met in theirs.
local function invocations(step)
  local waiting = all_of(step, entry.BY_ROOT, "")
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
  local beginnings = all_of(step, entry.RUN, step.judged.namespace("").unclear)
  local self = { oldest = nil }

  function self.remains(id)
    local here, moved = entry.RUN .. id, false
    local beginning = beginnings.peek()
    while beginning and not bytes.less(here, beginning) do
      if beginning ~= here then
        step.forget(beginning)
        moved = true
      end
      beginnings.skip()
      beginning = beginnings.peek()
    end
    if moved and self.oldest then step.add(here) end
    self.oldest = self.oldest or id
  end

  return self
end

-- Takes what does not stay of a namespace that counts by itself, oldest first. `take(id)` takes
-- one checkpoint, `remains(id)` is told of those that are still there.
local function take_standing(step, ns, take, remains)
  local verdict, space = step.judged.namespace(ns), decide.space(ns)
  local prefix, whole, kept = space.prefix, true, verdict.kept
  local taken = step.new_range()
  local oldest = decide.first_id(step.view, space)
  if oldest and bytes.less(oldest, verdict.unclear) then remains(oldest) end
  local low, high = "[" .. prefix .. verdict.unclear, "(" .. prefix .. verdict.floor
  index.each_up(step.view, low, high, function(member)
    local id = entry.id(member, prefix)
    whole = kept[id] or take(id)
    if not kept[id] and whole then
      taken.grow(member)
      return true
    end
    taken.close()
    remains(id)
    return whole
  end)
  taken.close()
  if not whole then return false end
  for _, id in ipairs(verdict.gone) do
    for _, member in ipairs(index.members_of(step.view, space.kind, ns, id)) do
      step.forget(member)
    end
  end
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
  local take_checkpoint, take_of = step.removal.take_checkpoint, started.take_of
  local function take_alone(id) return take_checkpoint(names, id) end
  local function take_with_invocations(id) return take_checkpoint(names, id) and take_of(id) end
  local take = started.any() and take_with_invocations or take_alone
  if not take_standing(step, "", take, marks.remains) then return false end
  return marks.oldest == oldest or not marks.oldest or not started.any_older(marks.oldest)
end

local function take_all(step)
  if not take_root_namespace(step) then return false end
  for _, ns in ipairs(step.judged.namespaces()) do
    local names = layout.names(step.thread, ns)
    local function take(id) return step.removal.take_checkpoint(names, id) end
    if ns ~= "" and not take_standing(step, ns, take, function() end) then return false end
  end
  if not step.judged.expired then return true end
  for _, ns in ipairs(index.namespaces(step.view, entry.TASK)) do
    local first = step.view.up("[" .. entry.of(entry.TASK, ns), "+", 1)[1]
    if not step.forgotten[first] and not take_invocation(step, ns) then return false end
  end
  return true
end

local function add_all(key, members)
  in_chunks(members, function(chunk)
    local scored = {}
    for _, member in ipairs(chunk) do
      scored[#scored + 1] = 0
      scored[#scored + 1] = member
    end
    redis.call("ZADD", key, unpack(scored))
  end)
end

local function rebuild(key)
  local members = redis.call("ZRANGE", key, 0, -1)
  redis.call("UNLINK", key)
  add_all(key, members)
end

local function count(key, kind)
  return redis.call("ZLEXCOUNT", key, "[" .. kind, "(" .. entry.beyond(kind))
end

-- The checkpoints that the index knows.
local function known(key)
  return count(key, entry.STANDING) + count(key, entry.TASK)
end

-- Deletes what was taken, then brings the index up to date: at `maxmemory` only a script that
-- has deleted may add.
local function settle(step, key, done, again)
  step.removal.run()
  for _, range in ipairs(step.ranges) do
    redis.call("ZREMRANGEBYLEX", key, "[" .. range.first, "[" .. range.last)
  end
  in_chunks(step.forgets, function(chunk) redis.call("ZREM", key, unpack(chunk)) end)
  add_all(key, step.adds)
  local left = known(key)
  if left == 0 and done then
    redis.call("UNLINK", key)
  elseif done and left <= REBUILT and (again or step.removal.checkpoints > left) then
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
  -- Entries that are forgotten one after the other, without one between them that is not.
  function step.new_range()
    local range, self = nil, {}
    function self.grow(member)
      if not range then
        range = { first = member }
        table.insert(step.ranges, range)
      end
      range.last = member
    end
    function self.close() range = nil end
    return self
  end
  function step.add(member)
    step.adds[#step.adds + 1] = member
  end
  return step
end

-- Trims `thread` by one call's worth. `limit` is the number of keys that a call may delete. What
-- is known: {again = whether earlier calls of this trim have deleted already, complete = whether
-- the index has all checkpoints of the thread}. Answers
--   {state =, checkpoints =, keys =, left =, where = {ns, id}}
-- state: "done", "more" (call again) or "unjudged" (nothing was done, for what stands `where`);
-- left: the checkpoints that the index knows after it.
function trimming.step(key, pins_key, thread, policy, limit, what_is_known)
  local view = index.stored(key)
  local judged = decide.thread(view, thread, policy, pins.read(pins_key),
    { settled = false, complete = what_is_known.complete })
  if judged.unjudged then
    return { state = "unjudged", checkpoints = 0, keys = 0, left = known(key),
      where = judged.unjudged }
  end
  local step = new_step(view, thread, judged, limit)
  local done = take_all(step)
  local left = settle(step, key, done, what_is_known.again)
  return { state = done and "done" or "more", checkpoints = step.removal.checkpoints,
    keys = step.removal.keys, left = left }
end

return trimming
