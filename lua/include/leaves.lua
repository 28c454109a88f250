-- leaves: which leaves a namespace has below its floor, and what is retained for their sake.
--
-- Of a few leaves, each is examined. More are a crowd. Then the calls of a trim first forget the
-- entries of old leaves, a bounded number each, and delete nothing until only leaves are left that
-- were first seen within the grace period. Whether a checkpoint descends from what the latest
-- pointer names is then asked of each checkpoint that is about to be deleted, not of the leaves.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local leaves = {}

-- Ancestors that are followed up from a leaf, and documents that a call reads for that.
local LONGEST_PATH, MOST_PARENTS = 16, 500
-- Leaves that are not yet a crowd; of a crowd, young leaves that a call retains at most, and old
-- ones that it forgets.
local FEW, MOST_RECENT, MOST_OLD = 200, 200, 1000

-- How checkpoints descend from `latest`: a function of an id that answers the checkpoints after it
-- up to this one, or nil when this one does not descend from it. Where no more documents may be
-- read, it counts as if it did, and budget.is_spent is true.
local function descent(thread, ns, latest, budget)
  local parents = {}
  return function(id)
    local path, seen = {}, {}
    while id ~= latest and id ~= "" and not seen[id] and #path < LONGEST_PATH do
      if not parents[id] then
        if budget.documents == 0 then
          budget.is_spent = true
          return path
        end
        budget.documents = budget.documents - 1
        parents[id] = layout.parent(thread, ns, id)
      end
      path[#path + 1], seen[id] = id, true
      id = parents[id]
    end
    return id == latest and path or nil
  end
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

local function find_missing(thread, ns, found)
  local ids = {}
  for at, leaf in ipairs(found) do ids[at] = leaf.id end
  local exists = layout.existing(thread, ns, ids)
  for _, leaf in ipairs(found) do leaf.missing = not exists[leaf.id] end
end

-- What becomes of a crowd:
--   old           ranges of the entries of old leaves, which the index is to forget
--   more          there are more than a call forgets: then nothing is deleted for now
--   is_too_large  too many are not old: then nothing is deleted
--   is_ahead(id)  whether a checkpoint descends from what the latest pointer names (not nil), nil
--                 where that does not matter
--   budget        of the documents that this reads
local function read_crowd(view, low, high, options)
  local crowd, recent, now = { old = {} }, {}, clock.now_ms()
  local left, range = options.at_end and math.huge or MOST_OLD, nil
  index.each_up(view, low, high, function(member)
    local fields = entry.fields(member)
    local since = tonumber(fields[3]) or 0
    if now - since < options.grace then
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
-- it. `options` is what include/decisions.lua was given.
function leaves.below(view, thread, ns, floor, latest, options)
  local prefix = entry.of(entry.LEAF, ns)
  local low, high = "[" .. prefix, "(" .. prefix .. floor
  local members = view.up(low, high, FEW + 1)
  if #members == 0 then return {} end
  local found, crowd = from_entries(members), nil
  local budget = { documents = MOST_PARENTS, is_spent = false }
  if #members > FEW or found[1].id == "" then
    found, crowd = read_crowd(view, low, high, options)
    crowd.budget = budget
    if options.at_end then budget.documents = math.huge end
  end
  find_missing(thread, ns, found)
  if not latest or options.grace <= 0 then return found, crowd end
  local path_to = descent(thread, ns, latest, budget)
  if crowd then
    crowd.is_ahead = path_to
  else
    for _, leaf in ipairs(found) do
      if not leaf.missing then leaf.path = path_to(leaf.id) end
    end
  end
  return found, crowd
end

return leaves
