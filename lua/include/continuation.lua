-- continuation: what a call of a trim hands on to the next, so that this need not decide again.
--
-- That is possible where all that is left to do is to delete checkpoints of one independent
-- namespace below its floor. Beside what is handed on, a mark is left in the index. Whatever adds
-- to the index takes it away: as long as it is there, no checkpoint, leaf or line of descent has
-- been added that the decision did not know. The next call (continue.lua) makes sure of the rest:
-- that what justifies the deletion exists, where the latest pointer points, that nothing is pinned.
-- Time that passes can only end reasons to retain something.
--
-- It is a list of texts: what the entries of the namespace begin with, its floor, the id that its
-- latest pointer names or "", "1" when nothing is left to do after it, the mean memory of a
-- checkpoint (include/deletion.lua) or "", how many ids justify the deletion, these ids, and the
-- ids below the floor that are retained.

--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/evidence.lua

local continuation = {}

-- Ids that are handed on at most: each call looks all of them up.
local MOST_IDS = 200

-- Whether nothing is left to do after a namespace. It may say no where that is so.
local function is_last(view, ns, rules)
  return #rules.missing == 0 and #rules.leaves == 0
    and not index.namespace_from(view, entry.INDEPENDENT, ns .. index.BEHIND_ROOT)
    and not index.first(view, entry.WITHOUT_ROOT)
end

-- Whether what was decided about a namespace holds as long as some documents exist.
local function holds(rules, wanted)
  if rules.for_all or rules.deletes_all or rules.crowd or #rules.newest < wanted.keep_last
    or rules.unclear_below ~= decide.LOWEST then return false end
  -- What checkpoints need that are not among the newest N is followed through others.
  return rules.counted == rules.floor or not rules.has_needs
end

-- What a checkpoint takes, as text.
local function mean_text(batch)
  local mean = batch.deletion.mean()
  return mean and string.format("%d", mean) or ""
end

-- What a batch hands on, nil when the next call has to decide anew. `ns` is the independent
-- namespace in which the batch has ended, nil if it has ended elsewhere, `decided` what
-- include/decisions.lua has answered, `wanted` the policy.
function continuation.of(batch, ns, decided, wanted)
  if not ns or decided.has_pins or decided.is_idle or decided.idle_entry then return nil end
  -- Invocations are deleted with the root checkpoints that started them.
  if index.first(batch.view, entry.STARTED) then return nil end
  local rules, retained = decided.namespace(ns), {}
  if not holds(rules, wanted) then return nil end
  for id in pairs(rules.retained) do retained[#retained + 1] = id end
  if #rules.newest + #retained > MOST_IDS then return nil end
  local last = is_last(batch.view, ns, rules) and "1" or "0"
  local found = { evidence.namespace(ns).prefix, rules.floor, decided.latest(ns) or "", last,
    mean_text(batch), tostring(#rules.newest) }
  for _, id in ipairs(rules.newest) do found[#found + 1] = id end
  for _, id in ipairs(retained) do found[#found + 1] = id end
  return found
end

return continuation
