-- below_floor: deletes checkpoints of one namespace between two ids, oldest first. Shared by
-- include/namespaces.lua and continue.lua.

--@include include/entry.lua

local below_floor = {}

-- Entries read at a time: about as many as there are checkpoints in a batch.
local AHEAD = 64

-- Follows where runs begin while root checkpoints are deleted, from the id `lowest` on: a run whose
-- first checkpoint is deleted begins with the next one that is still there.
--   on_retained(id)  to be called for each checkpoint that is still there
--   oldest           the first of these, nil before
function below_floor.run_starts(batch, lowest)
  local self = { oldest = nil }
  local low = "[" .. entry.RUN_START .. lowest

  function self.on_retained(id)
    local here = entry.RUN_START .. id
    local start = batch.view.up(low, "(" .. here, 1)[1]
    if start then
      batch.forget_range("[" .. start, "(" .. here)
      if self.oldest then batch.add(here) end
    end
    low = "(" .. here
    self.oldest = self.oldest or id
  end

  return self
end

-- Deletes members[at] and those after it, up to the first that is retained; answers where that is,
-- and whether all before it were deleted whole.
local function delete_up_to_retained(batch, members, ids, at, retained, collect)
  local last = at
  while last < #ids and not retained[ids[last + 1]] do
    last = last + 1
  end
  local collected = collect(ids, at, last)
  if collected > 0 then
    batch.forget_range("[" .. members[at], "[" .. members[at + collected - 1])
  end
  return at + collected, collected == last - at + 1
end

-- Deletes what is not retained between two bounds of the index. `retained` has the ids that are;
-- `collect(ids, first, last)` collects checkpoints in turn and answers how many; `on_retained(id)`
-- is called for those that are still there. False when (a part of) it is left for the next call.
function below_floor.between(batch, low, high, prefix, retained, collect, on_retained)
  repeat
    local members = batch.view.up(low, high, AHEAD)
    local ids, at, whole = (entry.ids(members, prefix)), 1, true
    while at <= #ids do
      if not retained[ids[at]] then
        at, whole = delete_up_to_retained(batch, members, ids, at, retained, collect)
      end
      if at <= #ids then on_retained(ids[at]) end
      if not whole then return false end
      at = at + 1
    end
    low = "(" .. (members[#members] or "")
  until #members < AHEAD
  return true
end

return below_floor
