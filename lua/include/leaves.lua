-- leaves: which leaves a namespace has below its floor, and what is retained for their sake.
--
-- Of a few, each is looked at. A crowd is not: a call of a trim forgets entries of old leaves, a
-- bounded number, and nothing is deleted before all are forgotten. What is left are leaves that
-- were first seen a moment ago. Whether a checkpoint descends from what the latest pointer names is
-- then asked of the checkpoint, when it is about to be deleted, and not of the leaves.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local leaves = {}

-- How far up ancestors are followed, and how many documents are read for that in a call.
local LONGEST_PATH, MOST_PARENTS = 16, 500
-- More leaves than this are a crowd. Of that so many are retained that are not old, and a call
-- forgets so many old ones.
local FEW, MOST_RECENT, MOST_OLD = 200, 200, 1000

-- Follows the ancestors of a leaf up to what the latest pointer names: answers those on the way,
-- the leaf among them, or nil when it does not descend from there. `budget` counts down the
-- documents that may be read; where they are used up, the leaf counts as if it did.
local function path_from_latest(thread, ns, id, latest, budget)
  local path, seen = {}, {}
  while id ~= "" and not seen[id] and #path < LONGEST_PATH do
    if budget.documents == 0 then return path end
    budget.documents = budget.documents - 1
    path[#path + 1], seen[id] = id, true
    id = layout.parent(thread, ns, id)
    if id == latest then return path end
  end
  return nil
end

-- The leaves that some entries name. One may have been seen twice.
local function from_entries(members)
  local found = {}
  for _, member in ipairs(members) do
    local fields = entry.fields(member)
    local since, last = tonumber(fields[3]) or 0, found[#found]
    if last and last.id == fields[2] then
      last.since = math.max(last.since, since)
    else
      found[#found + 1] = { id = fields[2], since = since }
    end
  end
  return found
end

local function note_missing(thread, ns, found)
  local ids = {}
  for at, leaf in ipairs(found) do ids[at] = leaf.id end
  local exists = layout.existing(thread, ns, ids)
  for _, leaf in ipairs(found) do leaf.missing = not exists[leaf.id] end
end

-- Whether checkpoints descend from `latest`: a function of the id. Where no more documents may be
-- read, they count as if they did, and budget.is_spent is true.
local function descent(thread, ns, latest, budget)
  -- How many steps it is from there to a checkpoint, false when that does not descend from it.
  local steps = { [latest] = 0 }
  return function(id)
    local path, seen, at = {}, {}, id
    while at ~= "" and steps[at] == nil and not seen[at] and #path < LONGEST_PATH do
      if budget.documents == 0 then
        budget.is_spent = true
        return true
      end
      budget.documents = budget.documents - 1
      path[#path + 1], seen[at] = at, true
      at = layout.parent(thread, ns, at)
    end
    if steps[at] == nil and at ~= "" and not seen[at] then return false end
    local distance = steps[at] or nil
    for back = #path, 1, -1 do
      distance = distance and distance + 1
      steps[path[back]] = distance or false
    end
    return distance ~= nil and distance <= LONGEST_PATH
  end
end

-- What becomes of a crowd:
--   old           ranges of the entries of old leaves: the index need not know them any more
--   more          there are more than a call reads: then nothing is deleted for now
--   is_too_large  too many are not old: then nothing is deleted
--   is_ahead(id)  whether a checkpoint descends from what the latest pointer names, nil where that
--                 does not matter
--   budget        of the documents that this reads
local function read_crowd(view, low, high, given)
  local crowd, recent, now = { old = {} }, {}, clock.now_ms()
  local left, range = given.at_end and math.huge or MOST_OLD, nil
  index.each_up(view, low, high, function(member)
    local fields = entry.fields(member)
    local since = tonumber(fields[3]) or 0
    if now - since < given.grace then
      recent[#recent + 1], range = { id = fields[2], since = since }, nil
    else
      crowd.more, left = left == 0, left - 1
      if crowd.more then return false end
      if not range then
        range = { "[" .. member }
        crowd.old[#crowd.old + 1] = range
      end
      range[2] = "[" .. member
    end
    crowd.is_too_large = #recent > MOST_RECENT
    return not crowd.is_too_large
  end)
  return recent, crowd
end

-- The leaves of a namespace with ids below `floor`, each {id =, since = when it was first seen,
-- missing =, path =} (include/decide.lua); of a crowd those that are not old, and what becomes of
-- it. `given` is what include/decisions.lua was given.
function leaves.below(view, thread, ns, floor, latest, given)
  local prefix = entry.of(entry.LEAF, ns)
  local low, high = "[" .. prefix, "(" .. prefix .. floor
  local members = view.up(low, high, FEW + 1)
  if #members == 0 then return {} end
  local found = from_entries(members)
  local is_of_interest = latest ~= nil and given.grace > 0
  if #members > FEW or found[1].id == "" then
    local recent, crowd = read_crowd(view, low, high, given)
    crowd.budget = { documents = given.at_end and math.huge or MOST_PARENTS, is_spent = false }
    if is_of_interest then crowd.is_ahead = descent(thread, ns, latest, crowd.budget) end
    note_missing(thread, ns, recent)
    return recent, crowd
  end
  note_missing(thread, ns, found)
  local budget = { documents = MOST_PARENTS }
  for _, leaf in ipairs(found) do
    if is_of_interest and not leaf.missing then
      leaf.path = path_from_latest(thread, ns, leaf.id, latest, budget)
    end
  end
  return found
end

return leaves
