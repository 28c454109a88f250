-- trimming: one bounded step of trimming one thread. Shared by trim.lua and track.lua.

local trimming = {}

local AHEAD = 200
-- A sorted set that was large stays large when it has become small, unless it is built anew.
-- Up to this many entries that costs less than a step.
local REBUILT = 1000

-- Takes one checkpoint, and remembers its index entries as forgotten when all of it is taken.
local function take_checkpoint(step, kind, ns, id)
  if not step.removal.take_checkpoint(ns, id) then return false end
  for _, member in ipairs(index.members_of(step.view, kind, ns, id)) do
    step.forget(member)
  end
  return true
end

local function forget_all(step, prefix)
  index.each_up(step.view, "[" .. prefix, index.past(prefix), step.forget)
end

-- Takes the namespace of an invocation: the pointer first, then what it has.
local function take_invocation(step, ns)
  if not step.removal.take_key(layout.latest_key(step.thread, ns)) then return false end
  local prefix, whole = entry.of(entry.TASK, ns), true
  index.each_up(step.view, "[" .. prefix, index.past(prefix), function(member)
    whole = take_checkpoint(step, entry.TASK, ns, entry.fields(member)[2])
    return whole
  end)
  if not whole then return false end
  local by_namespace = entry.of(entry.BY_NAMESPACE, ns)
  index.each_up(step.view, "[" .. by_namespace, index.past(by_namespace), function(member)
    step.forget(member)
    step.forget(entry.of(entry.BY_ROOT, entry.fields(member)[2]) .. ns)
  end)
  return true
end

-- Takes the invocations named by the entries from `low` to `high` that do not stay.
local function take_invocations(step, low, high)
  local whole = true
  index.each_up(step.view, low, high, function(member)
    local ns = entry.fields(member)[2]
    if not step.forgotten[member] and not step.judged.invocation(ns) then
      whole = take_invocation(step, ns)
    end
    return whole
  end)
  return whole
end

local function take_root(step, id)
  local whole = step.removal.take_checkpoint("", id)
  local started = entry.of(entry.BY_ROOT, id)
  if not take_invocations(step, "[" .. started, index.past(started)) or not whole then
    return false
  end
  for _, member in ipairs(index.members_of(step.view, entry.STANDING, "", id)) do
    step.forget(member)
  end
  return true
end

-- Follows the beginnings of runs while checkpoints go: where the first checkpoint of a run is
-- taken, the run begins with the next one that remains.
local function run_marks(step)
  local marks = { oldest = nil }
  local beginnings, at = step.view.up("[" .. entry.RUN, "(" .. entry.beyond(entry.RUN), AHEAD), 1

  function marks.remains(id)
    local moved = false
    while beginnings[at] and not bytes.less(entry.RUN .. id, beginnings[at]) do
      if beginnings[at] ~= entry.RUN .. id then
        step.forget(beginnings[at])
        moved = true
      end
      at = at + 1
    end
    if moved and marks.oldest then step.add(entry.RUN .. id) end
    marks.oldest = marks.oldest or id
  end

  return marks
end

local function take_standing(step, ns, take, remains)
  local verdict = step.judged.namespace(ns)
  local prefix, whole = entry.of(entry.STANDING, ns), true
  index.each_up(step.view, "[" .. prefix, "(" .. prefix .. verdict.floor, function(member)
    local id = entry.fields(member)[2]
    if step.forgotten[member] then return true end
    whole = verdict.stays(id) or take(step, id)
    if not whole or verdict.stays(id) then remains(id) end
    return whole
  end)
  if whole then
    local first = step.view.up("[" .. prefix .. verdict.floor, index.past(prefix), 1)[1]
    if first then
      remains(entry.fields(first)[2])
    elseif not verdict.stays("") then
      whole = step.removal.take_key(layout.latest_key(step.thread, ns))
    end
  end
  for _, id in ipairs(verdict.gone) do
    for _, member in ipairs(index.members_of(step.view, entry.STANDING, ns, id)) do
      step.forget(member)
    end
  end
  return whole
end

-- The root namespace, with the invocations that its checkpoints started.
local function take_root_namespace(step)
  local marks = run_marks(step)
  local known = step.view.up("[" .. entry.of(entry.STANDING, ""), "+", 1)[1]
  local oldest = known and entry.fields(known)[2]
  -- Invocations of roots that are older than the oldest there is.
  local old = oldest and "(" .. entry.BY_ROOT .. oldest or "(" .. entry.beyond(entry.BY_ROOT)
  if not take_invocations(step, "[" .. entry.BY_ROOT, old) then return false end
  if not take_standing(step, "", take_root, marks.remains) then return false end
  if not oldest or not marks.oldest or marks.oldest == oldest then return true end
  -- Roots went: what was started by one nobody knows may now be older than the oldest.
  local left = false
  index.each_up(step.view, old, "(" .. entry.BY_ROOT .. marks.oldest, function(member)
    left = not step.forgotten[member]
    return not left
  end)
  return not left
end

local function take_all(step)
  if not take_root_namespace(step) then return false end
  for _, ns in ipairs(index.namespaces(step.view, entry.STANDING)) do
    local function take(_, id) return take_checkpoint(step, entry.STANDING, ns, id) end
    if ns ~= "" and not take_standing(step, ns, take, function() end) then return false end
  end
  if not step.judged.expired then return true end
  for _, ns in ipairs(index.namespaces(step.view, entry.TASK)) do
    local first = step.view.up("[" .. entry.of(entry.TASK, ns), "+", 1)[1]
    if not step.forgotten[first] and not take_invocation(step, ns) then return false end
  end
  return true
end

local function in_chunks(list, run)
  for first = 1, #list, AHEAD do
    run({ unpack(list, first, math.min(first + AHEAD - 1, #list)) })
  end
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

-- Deletes what was taken, then brings the index up to date: at `maxmemory` only a script that
-- has deleted may add.
local function settle(step, key, done, again)
  step.removal.run()
  in_chunks(step.forgets, function(chunk) redis.call("ZREM", key, unpack(chunk)) end)
  add_all(key, step.adds)
  local left = count(key, entry.STANDING) + count(key, entry.TASK)
  if left == 0 and done then
    redis.call("UNLINK", key)
  elseif done and left <= REBUILT and (again or #step.forgets > left) then
    rebuild(key)
  end
  return left
end

-- Trims `thread` by one call's worth. `limit` is the number of keys that a call may delete,
-- `again` says that earlier calls of this trim have deleted already. Answers
--   {state =, checkpoints =, keys =, left =, where = {ns, id}}
-- state: "done", "more" (call again) or "unjudged" (nothing was done, for what stands `where`);
-- left: the checkpoints that the index knows after it.
function trimming.step(key, pins_key, thread, policy, limit, again)
  local view = index.stored(key)
  local judged = decide.thread(view, thread, policy, pins.read(pins_key), false)
  if judged.unjudged then
    local left = count(key, entry.STANDING) + count(key, entry.TASK)
    return { state = "unjudged", checkpoints = 0, keys = 0, left = left, where = judged.unjudged }
  end
  local step = {
    view = view, thread = thread, judged = judged, removal = removal.new(thread, limit),
    forgets = {}, forgotten = {}, adds = {},
  }
  function step.forget(member)
    if not step.forgotten[member] then
      step.forgotten[member] = true
      step.forgets[#step.forgets + 1] = member
    end
  end
  function step.add(member)
    step.adds[#step.adds + 1] = member
  end
  local done = take_all(step)
  local left = settle(step, key, done, again)
  return {
    state = done and "done" or "more",
    checkpoints = step.removal.checkpoints,
    keys = step.removal.keys,
    left = left,
  }
end
