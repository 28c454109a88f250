-- namespaces: deletes what the decision does not retain, namespace by namespace, oldest first.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/evidence.lua
--@include include/below_floor.lua
--@include include/invocations.lua

local namespaces = {}

-- Lets the index forget the checkpoints that are missing, and the leaves that are.
local function forget_missing(batch, ns, kind, rules)
  for _, id in ipairs(rules.missing) do
    for _, member in ipairs(index.members_of(batch.view, kind, ns, id)) do
      batch.forget(member)
    end
  end
  for _, leaf in ipairs(rules.leaves) do
    if leaf.missing or not decide.retains(rules, leaf.id) then
      batch.forget_range(entry.leaf_range(ns, leaf.id))
    end
  end
end

-- Notes in the index down to which id the newest were read: the next call goes on there.
local function remember_read(batch, ns, id)
  batch.forget_range(entry.range(entry.of(entry.READ, ns)))
  batch.add(entry.read_down_to(ns, id, clock.now_ms()))
end

-- Deletes by `delete(collect, on_retained)` where there is a crowd of leaves, and lets the index
-- forget the old ones. False when something is left for the next call.
local function delete_in_crowd(batch, ns, crowd, delete, collect, on_retained)
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
  for _, range in ipairs(crowd.old) do batch.forget_range(range[1], range[2]) end
  if retained or crowd.more or crowd.is_too_large then batch.add(entry.without_old_leaves(ns)) end
  -- A call that has read all it may and found nothing to delete: the next would find no more.
  return not crowd.more and (not crowd.budget.is_spent or collected == 0)
end

-- Deletes what is not retained of an independent namespace. `collect(ids, first, last)` collects
-- checkpoints in turn and answers how many, `on_retained(id)` is called for those that are
-- still there; `oldest` is the oldest that the index knows.
local function delete_independent(batch, ns, oldest, collect, on_retained)
  local rules, namespace = batch.decisions.namespace(ns), evidence.namespace(ns)
  local prefix = namespace.prefix
  if oldest and bytes.less(oldest, rules.unclear_below) then on_retained(oldest) end
  local low, high = "[" .. prefix .. rules.unclear_below, "(" .. prefix .. rules.floor
  local function delete(...)
    return below_floor.between(batch, low, high, prefix, rules.retained, ...)
  end
  if rules.crowd then
    local whole = delete_in_crowd(batch, ns, rules.crowd, delete, collect, on_retained)
    if not whole then return false end
  elseif not delete(collect, on_retained) then
    return false
  end
  forget_missing(batch, ns, namespace.kind, rules)
  if rules.read_to then remember_read(batch, ns, rules.read_to) end
  if rules.more_missing then return false end
  local first = batch.view.up("[" .. prefix .. rules.floor, index.past(prefix), 1)[1]
  if first then
    on_retained(entry.id(first, prefix))
  elseif rules.deletes_all then
    return batch.deletion.collect_pointer(layout.latest_key(batch.thread, ns))
  end
  return true
end

-- The root namespace, with the invocations that its checkpoints have started. Answers false when
-- something is left for the next call, and the cursor of its invocations.
local function delete_root_namespace(batch, cursor)
  local starts = layout.key_starts(batch.thread, "")
  local runs = below_floor.run_starts(batch, batch.decisions.namespace("").unclear_below)
  local started = invocations.by_root(batch, cursor)
  local oldest = index.oldest_id(batch.view, evidence.ROOT.prefix)
  if not started.delete_older(oldest) then return false, started.cursor() end
  local collect_checkpoints, delete_of = batch.deletion.collect, started.delete_of
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
  if not delete_independent(batch, "", oldest, collect, runs.on_retained) then
    return false, started.cursor()
  end
  -- Roots that are not in the index are deleted once they are older than all that are. Now that the
  -- oldest is deleted, there may be more of these.
  local moved = runs.oldest ~= oldest or started.has_passed_before()
  if runs.oldest and moved and started.any_older(runs.oldest) then return false, "" end
  return true
end

local function delete_other_namespace(batch, ns)
  local starts, collect_checkpoints = layout.key_starts(batch.thread, ns), batch.deletion.collect
  local function collect(ids, first, last) return collect_checkpoints(starts, ids, first, last) end
  return delete_independent(batch, ns, nil, collect, function() end)
end

-- Invocations that a call may decide about and retain, some 30 microseconds each. What it deletes
-- is bounded anyway. An independent namespace costs as much as a few of them.
local MOST_RETAINED, OF_NAMESPACE = 60, 3

-- Gives a batch a budget for what it decides about.
local function set_budget(batch)
  local left = MOST_RETAINED
  function batch.spend(cost) left = left - cost end
  function batch.is_spent() return left <= 0 end
end

-- What is left of an invocation in a thread that has expired.
local function delete_rest(batch, ns)
  local first = index.first(batch.view, entry.of(entry.INVOCATION, ns))
  return batch.forgotten[first] or invocations.delete(batch, ns)
end

-- The namespaces behind the root that have entries of a kind. Answers false when something is left
-- for the next call, the namespace with which that goes on, and whether this one was begun.
local function delete_behind_root(batch, kind, from)
  local from_ns, begun
  local done = index.each_namespace(batch.view, kind, from, function(ns)
    from_ns, begun = ns, false
    if batch.is_spent() then return false end
    if kind == entry.INVOCATION then return delete_rest(batch, ns) end
    batch.spend(OF_NAMESPACE)
    begun = batch.decisions.is_independent(kind, ns)
    return not begun or delete_other_namespace(batch, ns)
  end)
  return done, from_ns, begun
end

-- The kinds of entries by which namespaces are found, one after the other.
local NEXT_KIND = {
  [entry.INDEPENDENT] = entry.WITHOUT_ROOT, [entry.WITHOUT_ROOT] = entry.INVOCATION,
}

-- Deletes of all namespaces what is not retained, from a cursor on: "" is the beginning. Answers
-- nil when all is done, else the cursor of the next call, and the independent namespace in which
-- this one has ended.
--
-- Earlier calls of the same trim have dealt with what is before the cursor; this one retains it. It
-- need not know what they have decided: it decides itself about all that it deletes.
function namespaces.delete(batch, cursor)
  if batch.decisions.retains_all then return nil end
  set_budget(batch)
  local kind, from = string.sub(cursor, 1, 1), string.sub(cursor, 2)
  if kind == "" or kind == entry.STARTED then
    local done, its_cursor = delete_root_namespace(batch, from)
    if not done then return entry.STARTED .. its_cursor, "" end
    kind, from = entry.INDEPENDENT, index.BEHIND_ROOT
  end
  while kind do
    local done, ns, begun = delete_behind_root(batch, kind, from)
    if not done then return kind .. ns, begun and ns or nil end
    kind, from = NEXT_KIND[kind], ""
    if kind == entry.INVOCATION and not batch.decisions.is_expired then return nil end
  end
  return nil
end

return namespaces
