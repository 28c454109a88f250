-- decide: which checkpoints are retained, and why. Tables in, tables out: it reads no key and no
-- clock. What it must know is gathered by include/evidence.lua, or written down in a test.
--
-- Two kinds of namespaces are decided in two ways. An independent one (the root, a stateful
-- subgraph) has a floor: an id from which on everything is retained, and a few older checkpoints
-- that are retained for reasons of their own. The namespace of an invocation is retained or deleted
-- as a whole, with the root checkpoints that started it.
--
-- Reasons: last, within, run, pinned, all (asked for by the policy), latest, delta, sends, unclear
-- (needed by LangGraph), invocation (its root checkpoint is retained), recent (it has no child yet,
-- and has not been there for long), ahead (it descends from what the latest pointer names), idle
-- (its thread must be found idle once more before it expires).
--
-- Rules are the answer for one independent namespace:
--   floor          every checkpoint from this id on is retained
--   unclear_below  every checkpoint below this id is retained
--   retained       {[id] = {reason...}}: what is retained in between
--   counted        the id from which on the reason is "last"
--   leaves         the leaves below the floor, each {id =, missing = whether its document is gone}
--   crowd          what becomes of the leaves where they are very many (include/leaves.lua), or nil
--   missing        ids that the index knows and whose documents are gone
--   for_all        the one reason of all checkpoints, nil when each has its own
--   deletes_all    true when no checkpoint is retained

--@include include/bytes.lua

local decide = {}

-- Below every id, above every id.
decide.LOWEST, decide.HIGHEST = "", "\255"

-- Adds a reason for which a checkpoint is retained.
function decide.retain(rules, id, reason)
  local reasons = rules.retained[id]
  if not reasons then
    rules.retained[id] = { reason }
    return
  end
  for _, known in ipairs(reasons) do
    if known == reason then return end
  end
  reasons[#reasons + 1] = reason
end

-- The oldest id that is not older than `oldest_ms`, walking down from `floor`. A checkpoint whose
-- age is unknown cannot be proved to be old: it is retained, and the walk goes on.
local function floor_within(checkpoints, floor, oldest_ms)
  while true do
    local older = checkpoints.before(floor)
    if not older then return decide.LOWEST end
    if older.made_at and older.made_at < oldest_ms then return floor end
    local first = older.first_id and older.first_id(oldest_ms) or older.id
    floor = bytes.less(first, older.id) and first or older.id
  end
end

-- The last checkpoint of each of the newest runs. A pinned one is retained anyway and does not use
-- up one of the runs.
local function retain_runs(rules, checkpoints, keep_runs, pinned)
  local counted, below = 0, decide.HIGHEST
  while counted < keep_runs do
    local last = checkpoints.existing_before(below)
    if not last then return end
    decide.retain(rules, last, "run")
    if not pinned[last] then counted = counted + 1 end
    below = checkpoints.run_start(last)
    if not below then return end
  end
end

-- A writer puts the document first and the pointer after it: a leaf may be about to be named,
-- wherever its id sorts. It is retained for the grace period, and for as long as it descends from
-- what is named.
local function retain_leaves(rules, now, grace)
  if #rules.leaves == 0 then return end
  local ms = now()
  for _, leaf in ipairs(rules.leaves) do
    if not leaf.missing then
      if ms - leaf.since < grace then decide.retain(rules, leaf.id, "recent") end
      for _, id in ipairs(leaf.path or {}) do decide.retain(rules, id, "ahead") end
    end
  end
end

-- In a crowd of leaves, each checkpoint below the floor that would be deleted is asked whether it
-- descends from what the latest pointer names.
local function retain_in_crowd(rules, crowd)
  if crowd.more or crowd.is_too_large then rules.unclear_below = decide.HIGHEST end
  if not crowd.is_ahead then return end
  setmetatable(rules.retained, { __index = function(retained, id)
    if not bytes.less(id, rules.floor) or not crowd.is_ahead(id) then return nil end
    rawset(retained, id, { "ahead" })
    return rawget(retained, id)
  end })
end

-- The rules for an independent namespace, but for what its checkpoints need of their ancestors
-- (include/ancestors.lua adds that). `checkpoints` answers for it:
--   newest               the newest checkpoints that exist, newest first, `keep_last` if there are
--   pinned               {[id] = true}
--   latest               the id that the latest pointer names, or nil
--   before(id)           the next older one {id =, made_at = ms or nil, first_id(ms) = the first id
--                        not older than that, no function where ids do not say it}
--   existing_before(id)  the id of the next older one that exists, or nil
--   run_start(id)        the id of the first checkpoint of its run, or nil; no function at all in a
--                        namespace in which runs are not told apart
--   hides_runs           whether it is unknown where runs begin
--   leaves_below(id)     {id =, since = ms, missing = bool, path = ids from what the latest pointer
--                        names to this leaf, nil when it does not descend from there}; and of very
--                        many what include/leaves.lua says of a crowd
-- `policy` is what include/policy.lua reads; `grace` the milliseconds for which a leaf is retained.
function decide.namespace(checkpoints, policy, grace)
  local counted = checkpoints.newest[policy.keep_last] or decide.LOWEST
  local rules = {
    counted = counted, floor = counted, unclear_below = decide.LOWEST, retained = {},
  }
  if policy.keep_within >= 0 then
    rules.floor = floor_within(checkpoints, counted, policy.now() - policy.keep_within)
  end
  for id in pairs(checkpoints.pinned) do decide.retain(rules, id, "pinned") end
  if policy.keep_runs > 0 and checkpoints.hides_runs then rules.unclear_below = decide.HIGHEST end
  if policy.keep_runs > 0 and checkpoints.run_start then
    retain_runs(rules, checkpoints, policy.keep_runs, checkpoints.pinned)
  end
  if checkpoints.latest then decide.retain(rules, checkpoints.latest, "latest") end
  rules.leaves, rules.crowd = checkpoints.leaves_below(rules.floor)
  retain_leaves(rules, policy.now, grace)
  if rules.crowd then retain_in_crowd(rules, rules.crowd) end
  return rules
end

-- Rules by which everything is retained for one reason.
function decide.retain_all(reason)
  return {
    counted = decide.LOWEST, floor = decide.LOWEST, unclear_below = decide.LOWEST, retained = {},
    leaves = {}, missing = {}, for_all = reason,
  }
end

-- Rules by which everything is deleted.
function decide.delete_all()
  return {
    counted = decide.HIGHEST, floor = decide.HIGHEST, unclear_below = decide.LOWEST, retained = {},
    leaves = {}, missing = {}, deletes_all = true,
  }
end

-- Whether a checkpoint is retained.
function decide.retains(rules, id)
  if rules.deletes_all then return false end
  return rules.retained[id] ~= nil or not bytes.less(id, rules.floor)
    or bytes.less(id, rules.unclear_below)
end

-- Why a checkpoint is retained; nil when it is deleted.
function decide.reasons(rules, id)
  if not decide.retains(rules, id) then return nil end
  if rules.for_all then return { rules.for_all } end
  local reasons = { unpack(rules.retained[id] or {}) }
  if not bytes.less(id, rules.counted) then
    table.insert(reasons, 1, "last")
  elseif not bytes.less(id, rules.floor) then
    table.insert(reasons, 1, "within")
  elseif #reasons == 0 then
    reasons[1] = "unclear"
  end
  return reasons
end

-- Why the namespace of an invocation is retained; nil when it is deleted. `invocation` answers:
--   pinned         whether something in it is pinned
--   roots          the root checkpoints that say they have started it, oldest first
--   is_retained(root)  whether one of these is retained, or may still arrive
--   is_being_put()     whether its newest checkpoint may be about to be named by its pointer
--   is_indexed()       whether its newest checkpoint is in the index
function decide.invocation(invocation)
  if invocation.pinned then return { "pinned" } end
  for _, root in ipairs(invocation.roots) do
    if invocation.is_retained(root) then return { "invocation" } end
  end
  if invocation.is_being_put() then return { "recent" } end
  -- An index that does not know the newest of them does not know enough to delete the others.
  return not invocation.is_indexed() and { "unclear" } or nil
end

-- Whether a thread is idle: nothing has happened in it for `policy.expire` milliseconds, it does
-- not wait for a human, and nothing in it is pinned. `thread` answers:
--   has_pins           whether anything in it is pinned
--   made_at()          when its newest checkpoint was made, nil when that is unknown
--   has_begun_to_expire()  whether it was found idle, and its root checkpoints are gone
--   waits()            whether the newest checkpoint waits for a human
function decide.is_idle(thread, policy)
  if policy.expire < 0 or thread.has_pins then return false end
  if thread.has_begun_to_expire() then return true end
  local made_at = thread.made_at()
  if not made_at or made_at >= policy.now() - policy.expire then return false end
  return policy.expire_waiting or not thread.waits()
end

-- Whether an idle thread is deleted: it was found idle before, a grace period ago at least, so that
-- a checkpoint that was about to arrive then has arrived since. `idle_since` is when that was, in
-- ms, or nil; `thread.has_recent_leaf()` says whether a leaf was first seen since.
function decide.has_expired(thread, idle_since, policy, grace)
  if grace <= 0 then return true end
  if not idle_since or policy.now() - idle_since < grace then return false end
  return not thread.has_recent_leaf()
end

-- The rules that hold for all namespaces of a thread; nil when each has its own.
function decide.whole_thread(is_pinned, is_idle, is_expired, policy)
  if is_pinned then return decide.retain_all("pinned") end
  if is_expired then return decide.delete_all() end
  if policy.keep_last < 0 then return decide.retain_all(is_idle and "idle" or "all") end
  return nil
end

return decide
