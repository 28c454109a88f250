-- namespaces: deletes what the decision does not retain, namespace by namespace, oldest first.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/evidence.lua
--@include include/deletion.lua
--@include include/invocations.lua

local namespaces = {}

-- Lets the index forget the checkpoints that are missing, and the leaves that are.
local function forget_missing(step, ns, kind, rules)
  for _, id in ipairs(rules.missing) do
    for _, member in ipairs(index.members_of(step.view, kind, ns, id)) do
      step.forget(member)
    end
  end
  for _, leaf in ipairs(rules.leaves) do
    if leaf.missing or not decide.retains(rules, leaf.id) then
      step.forget_range(entry.leaf_range(ns, leaf.id))
    end
  end
end

-- Lets the index say down to which id the newest were read: there the next call goes on.
local function remember_read(step, ns, id)
  step.forget_range(entry.range(entry.of(entry.READ, ns)))
  step.add(entry.read_down_to(ns, id, clock.now_ms()))
end

-- Deletes where there is a crowd of leaves, as `delete(collect, on_retained)` does, and lets the
-- index forget the old ones. False when something is left for the next call.
local function delete_in_crowd(step, ns, crowd, delete, collect, on_retained)
  local collected, retained = 0, false
  local function counted(ids, first, last)
    local count = collect(ids, first, last)
    collected = collected + count
    return count
  end
  if not delete(counted, function(id)
    retained = true
    on_retained(id)
  end) then return false end
  for _, range in ipairs(crowd.old) do step.forget_range(range[1], range[2]) end
  if retained or crowd.more or crowd.is_too_large then step.add(entry.without_old_leaves(ns)) end
  -- If all that a call may read has let nothing go, the next call would not come any further.
  return not crowd.more and (not crowd.budget.is_spent or collected == 0)
end

-- Deletes what is not retained of an independent namespace. `collect(ids, first, last)` collects
-- checkpoints in turn and answers how many, `on_retained(id)` is told of those that are still
-- there; `oldest` is the oldest that the index knows.
local function delete_independent(step, ns, oldest, collect, on_retained)
  local rules, space = step.decisions.namespace(ns), evidence.space(ns)
  local prefix = space.prefix
  if oldest and bytes.less(oldest, rules.unclear_below) then on_retained(oldest) end
  local low, high = "[" .. prefix .. rules.unclear_below, "(" .. prefix .. rules.floor
  local function delete(its_collect, its_on_retained)
    return deletion.between(step, low, high, prefix, rules.retained, its_collect, its_on_retained)
  end
  if rules.crowd then
    local whole = delete_in_crowd(step, ns, rules.crowd, delete, collect, on_retained)
    if not whole then return false end
  elseif not delete(collect, on_retained) then
    return false
  end
  forget_missing(step, ns, space.kind, rules)
  if rules.read_to then remember_read(step, ns, rules.read_to) end
  if rules.more_missing then return false end
  local first = step.view.up("[" .. prefix .. rules.floor, index.past(prefix), 1)[1]
  if first then
    on_retained(entry.id(first, prefix))
  elseif rules.deletes_all then
    return step.removal.collect_pointer(layout.latest_key(step.thread, ns))
  end
  return true
end

-- The root namespace, with the invocations that its checkpoints have started. Answers false when
-- something is left for the next call, and the cursor of its invocations.
local function delete_root_namespace(step, cursor)
  local starts = layout.key_starts(step.thread, "")
  local runs = deletion.run_starts(step, step.decisions.namespace("").unclear_below)
  local started = invocations.by_root(step, cursor)
  local oldest = index.oldest_id(step.view, evidence.ROOT.prefix)
  if not started.delete_older(oldest) then return false, started.cursor() end
  local collect_checkpoints, delete_of = step.removal.collect, started.delete_of
  local function collect_alone(ids, first, last)
    return collect_checkpoints(starts, ids, first, last)
  end
  local function collect_with_invocations(ids, first, last)
    for at = first, last do
      if collect_checkpoints(starts, ids, at, at) == 0 then return at - first end
      if not delete_of(ids[at]) then return at - first end
    end
    return last - first + 1
  end
  local collect = started.any() and collect_with_invocations or collect_alone
  if not delete_independent(step, "", oldest, collect, runs.on_retained) then
    return false, started.cursor()
  end
  -- With the oldest checkpoint gone, roots are older than all there are that were not before.
  local moved = runs.oldest ~= oldest or started.has_passed_before()
  if runs.oldest and moved and started.any_older(runs.oldest) then return false, "" end
  return true
end

local function delete_other_namespace(step, ns)
  local starts, collect_checkpoints = layout.key_starts(step.thread, ns), step.removal.collect
  local function collect(ids, first, last) return collect_checkpoints(starts, ids, first, last) end
  return delete_independent(step, ns, nil, collect, function() end)
end

-- Invocations at which a call looks in vain, some 30 microseconds each. What it deletes is bounded
-- anyway. To decide about an independent namespace costs as much as about a few of them.
local MOST_LOOKS, OF_NAMESPACE = 60, 3

-- Lets a step count what it looks at.
local function let_tire(step)
  local left = MOST_LOOKS
  function step.look(cost) left = left - cost end
  function step.is_tired() return left <= 0 end
end

-- What is left of an invocation in a thread that has expired.
local function delete_rest(step, ns)
  local first = index.first(step.view, entry.of(entry.INVOCATION, ns))
  return step.forgotten[first] or invocations.delete(step, ns)
end

-- The namespaces behind the root that have entries of a kind. Answers false when something is left
-- for the next call, the namespace with which that goes on, and whether this one was begun.
local function delete_behind_root(step, kind, from)
  local from_ns, begun
  local done = index.each_namespace(step.view, kind, from, function(ns)
    from_ns, begun = ns, false
    if step.is_tired() then return false end
    if kind == entry.INVOCATION then return delete_rest(step, ns) end
    step.look(OF_NAMESPACE)
    begun = step.decisions.is_independent(kind, ns)
    return not begun or delete_other_namespace(step, ns)
  end)
  return done, from_ns, begun
end

-- By entries of which kind namespaces are found, after those of another.
local NEXT_KIND = {
  [entry.INDEPENDENT] = entry.WITHOUT_ROOT, [entry.WITHOUT_ROOT] = entry.INVOCATION,
}

-- Deletes of all namespaces what is not retained, from a cursor on: "" is the beginning. Answers
-- nil when all is done, else the cursor of the next call, and the independent namespace in which
-- this one has ended.
--
-- What is before the cursor was looked at by earlier calls of the same trim, and this one retains
-- it. So it need not know what these have decided: what it deletes it has decided anew.
function namespaces.delete(step, cursor)
  if step.decisions.retains_all then return nil end
  let_tire(step)
  local kind, from = string.sub(cursor, 1, 1), string.sub(cursor, 2)
  if kind == "" or kind == entry.STARTED then
    local done, its_cursor = delete_root_namespace(step, from)
    if not done then return entry.STARTED .. its_cursor, "" end
    kind, from = entry.INDEPENDENT, index.BEHIND_ROOT
  end
  while kind do
    local done, ns, begun = delete_behind_root(step, kind, from)
    if not done then return kind .. ns, begun and ns or nil end
    kind, from = NEXT_KIND[kind], ""
    if kind == entry.INVOCATION and not step.decisions.is_expired then return nil end
  end
  return nil
end

return namespaces
