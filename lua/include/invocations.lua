-- invocations: deletes the namespaces of subgraph invocations, in the order of the root checkpoints
-- that started them.

--@include include/bytes.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local invocations = {}

-- Entries read at a time.
local AHEAD = 20
-- The first byte of a cursor after which some were passed over.
local PASSED = "+"

-- Deletes the namespace of an invocation, its pointer with the last of it; false when (a part of)
-- it is left for the next call.
function invocations.delete(batch, ns)
  local starts, prefix = layout.key_starts(batch.thread, ns), entry.of(entry.INVOCATION, ns)
  local whole = true
  index.each_of(batch.view, prefix, function(member)
    whole = batch.deletion.collect(starts, { (entry.id(member, prefix)) }, 1, 1) == 1
    if whole then batch.forget(member) end
    return whole
  end)
  if not whole or not batch.deletion.collect_pointer(layout.latest_key(batch.thread, ns)) then
    return false
  end
  index.each_of(batch.view, entry.of(entry.STARTED_BY, ns), function(member)
    batch.forget(member)
    batch.forget(entry.of(entry.STARTED, entry.fields(member)[2]) .. ns)
  end)
  batch.forget(entry.of(entry.WITHOUT_ROOT, ns))
  batch.forget_range(entry.range(entry.of(entry.LEAF, ns)))
  return true
end

-- Whether a root that is still to be deleted has started the namespace too: it is deleted with
-- the last.
local function has_later_root(batch, ns, root)
  for _, other in ipairs(batch.decisions.roots(ns)) do
    if bytes.less(root, other)
      and #index.members_of(batch.view, entry.INDEPENDENT, "", other) > 0 then return true end
  end
  return false
end

-- Deletes an invocation, named by the entry that says which root started it, if nothing retains it.
-- That root is being deleted. False when (a part of) the invocation is left for the next call.
local function delete_if_over(batch, member)
  local fields = entry.fields(member)
  local root, ns = fields[1], fields[2]
  if batch.forgotten[member] then return true end
  local decided = batch.decisions
  local reasons = decided.invocation(ns)
  if not reasons and not has_later_root(batch, ns, root) then
    return invocations.delete(batch, ns)
  end
  batch.spend(1)
  if reasons and (reasons[1] ~= "invocation" or decided.retains_root(root)) then return true end
  -- Another root retains it. The index forgets this one, which is being deleted: else it would look
  -- like a root that is still to arrive.
  batch.forget(member)
  batch.forget(entry.of(entry.STARTED_BY, ns) .. root)
  return true
end

local function root_of(member)
  return entry.fields(member)[1]
end

-- Goes through the invocations in the order of their roots, from `cursor` on, at which an earlier
-- call of the same trim has stopped; "" is the beginning.
function invocations.by_root(batch, cursor)
  local last, passed_before = string.sub(cursor, 2), string.sub(cursor, 1, 1) == PASSED
  local first = last == "" and "[" .. entry.STARTED or "(" .. last
  local waiting = index.reader(batch.view, first, "(" .. entry.beyond(entry.STARTED), AHEAD)
  local self, passed = {}, passed_before

  local function skip(member)
    last = member
    waiting.skip()
  end

  -- Deletes what roots older than `oldest` have started; nil is newer than all.
  function self.delete_older(oldest)
    local member = waiting.peek()
    while member and (not oldest or bytes.less(root_of(member), oldest)) do
      if batch.is_spent() or not delete_if_over(batch, member) then return false end
      skip(member)
      member = waiting.peek()
    end
    return true
  end

  -- Deletes what `root` has started. Passes over what older roots have started that are not in the
  -- index: these may still arrive, as long as there are still older ones.
  function self.delete_of(root)
    local member = waiting.peek()
    while member do
      local its_root = root_of(member)
      if its_root ~= root and not bytes.less(its_root, root) then return true end
      if batch.is_spent() then return false end
      if its_root ~= root then
        batch.spend(1)
        passed = true
      elseif not delete_if_over(batch, member) then
        return false
      end
      skip(member)
      member = waiting.peek()
    end
    return true
  end

  -- Whether any are left.
  function self.any() return waiting.peek() ~= nil end

  function self.cursor() return (passed and PASSED or "-") .. last end

  -- Whether an earlier call has passed over some.
  function self.has_passed_before() return passed_before end

  -- Whether any of roots older than `oldest` are left, or were passed over.
  function self.any_older(oldest)
    local member = waiting.peek()
    return passed or member ~= nil and bytes.less(root_of(member), oldest)
  end

  return self
end

return invocations
