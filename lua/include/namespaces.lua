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
  local earlier = entry.of(entry.READ, ns)
  step.forget_range("[" .. earlier, index.past(earlier))
  step.add(entry.read_down_to(ns, id, clock.now_ms()))
end

-- Deletes what is not retained of an independent namespace. `collect(ids, first, last)` collects
-- checkpoints in turn and answers how many, `on_retained(id)` is told of those that are still
-- there; `oldest` is the oldest that the index knows.
local function delete_independent(step, ns, oldest, collect, on_retained)
  local rules, space = step.decisions.namespace(ns), evidence.space(ns)
  local prefix = space.prefix
  if oldest and bytes.less(oldest, rules.unclear_below) then on_retained(oldest) end
  local low, high = "[" .. prefix .. rules.unclear_below, "(" .. prefix .. rules.floor
  if not deletion.between(step, low, high, prefix, rules.retained, collect, on_retained) then
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

-- The root namespace, with the invocations that its checkpoints have started.
local function delete_root_namespace(step)
  local starts = layout.key_starts(step.thread, "")
  local runs = deletion.run_starts(step, step.decisions.namespace("").unclear_below)
  local started = invocations.by_root(step)
  local oldest = index.oldest_id(step.view, evidence.ROOT.prefix)
  if not started.delete_older(oldest) then return false end
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
  if not delete_independent(step, "", oldest, collect, runs.on_retained) then return false end
  return runs.oldest == oldest or not runs.oldest or not started.any_older(runs.oldest)
end

local function delete_other_namespace(step, ns)
  local starts, collect_checkpoints = layout.key_starts(step.thread, ns), step.removal.collect
  local function collect(ids, first, last) return collect_checkpoints(starts, ids, first, last) end
  return delete_independent(step, ns, nil, collect, function() end)
end

-- Deletes of all namespaces what is not retained; false when something is left for the next call,
-- and the independent namespace in which that is.
function namespaces.delete(step)
  if not delete_root_namespace(step) then return false, "" end
  for _, ns in ipairs(step.decisions.namespaces()) do
    if ns ~= "" and not delete_other_namespace(step, ns) then return false, ns end
  end
  if not step.decisions.is_expired then return true end
  for _, ns in ipairs(index.namespaces(step.view, entry.INVOCATION)) do
    local first = index.first(step.view, entry.of(entry.INVOCATION, ns))
    if not step.forgotten[first] and not invocations.delete(step, ns) then return false end
  end
  return true
end

return namespaces
