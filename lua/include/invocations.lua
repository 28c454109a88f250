-- invocations: deletes the namespaces of subgraph invocations, in the order of the root checkpoints
-- that started them.

--@include include/bytes.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local invocations = {}

-- Entries read at a time.
local AHEAD = 20
-- Begins the cursor of a call that has passed over some.
local PASSED = "+"

-- Deletes the namespace of an invocation, its pointer with the last of it; false when (a part of)
-- it is left for the next call.
function invocations.delete(step, ns)
  local starts, prefix = layout.key_starts(step.thread, ns), entry.of(entry.INVOCATION, ns)
  local whole = true
  index.each_of(step.view, prefix, function(member)
    whole = step.removal.collect(starts, { (entry.id(member, prefix)) }, 1, 1) == 1
    if whole then step.forget(member) end
    return whole
  end)
  if not whole or not step.removal.collect_pointer(layout.latest_key(step.thread, ns)) then
    return false
  end
  index.each_of(step.view, entry.of(entry.STARTED_BY, ns), function(member)
    step.forget(member)
    step.forget(entry.of(entry.STARTED, entry.fields(member)[2]) .. ns)
  end)
  step.forget(entry.of(entry.WITHOUT_ROOT, ns))
  step.forget_range(entry.range(entry.of(entry.LEAF, ns)))
  return true
end

-- Whether a root that is still to be deleted has started the namespace too: it is deleted with
-- the last.
local function has_later_root(step, ns, root)
  for _, other in ipairs(step.decisions.roots(ns)) do
    if bytes.less(root, other)
      and #index.members_of(step.view, entry.INDEPENDENT, "", other) > 0 then return true end
  end
  return false
end

-- Deletes an invocation, named by the entry that says which root started it, if nothing retains it.
-- That root is being deleted. False when (a part of) the invocation is left for the next call.
local function delete_if_over(step, member)
  local fields = entry.fields(member)
  local root, ns = fields[1], fields[2]
  if step.forgotten[member] then return true end
  local decided = step.decisions
  local reasons = decided.invocation(ns)
  if not reasons and not has_later_root(step, ns, root) then return invocations.delete(step, ns) end
  step.look(1)
  if reasons and (reasons[1] ~= "invocation" or decided.retains_root(root)) then return true end
  -- Another root retains it. Without its document this one would look as if it were to arrive.
  step.forget(member)
  step.forget(entry.of(entry.STARTED_BY, ns) .. root)
  return true
end

local function root_of(member)
  return entry.fields(member)[1]
end

-- The invocations in the order of their roots, to be asked for as the roots are met in theirs.
-- `cursor` is where an earlier call of the same trim has come to, "" when there was none.
function invocations.by_root(step, cursor)
  local last, passed_before = string.sub(cursor, 2), string.sub(cursor, 1, 1) == PASSED
  local first = last == "" and "[" .. entry.STARTED or "(" .. last
  local waiting = index.reader(step.view, first, "(" .. entry.beyond(entry.STARTED), AHEAD)
  local self, passed = {}, passed_before

  local function skip(member)
    last = member
    waiting.skip()
  end

  -- Deletes what roots older than `oldest` have started; nil is newer than all.
  function self.delete_older(oldest)
    local member = waiting.peek()
    while member and (not oldest or bytes.less(root_of(member), oldest)) do
      if step.is_tired() or not delete_if_over(step, member) then return false end
      skip(member)
      member = waiting.peek()
    end
    return true
  end

  -- Deletes what `root` has started, and passes over what older roots have that are not in the
  -- index: they may still arrive as long as there is an older one.
  function self.delete_of(root)
    local member = waiting.peek()
    while member do
      local its = root_of(member)
      if its ~= root and not bytes.less(its, root) then return true end
      if step.is_tired() then return false end
      if its ~= root then
        step.look(1)
        passed = true
      elseif not delete_if_over(step, member) then
        return false
      end
      skip(member)
      member = waiting.peek()
    end
    return true
  end

  -- Whether there are any that have not been met yet.
  function self.any() return waiting.peek() ~= nil end

  -- Where the next call goes on.
  function self.cursor() return (passed and PASSED or "-") .. last end

  -- Whether an earlier call has passed over some.
  function self.has_passed_before() return passed_before end

  -- Whether there are invocations of roots older than `oldest` that were not decided as such.
  function self.any_older(oldest)
    local member = waiting.peek()
    return passed or member ~= nil and bytes.less(root_of(member), oldest)
  end

  return self
end

return invocations
