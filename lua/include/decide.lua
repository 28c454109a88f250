-- decide: which checkpoints of a thread stay, and why. It reads and never deletes.
--
-- A namespace that counts by itself (the root, a stateful subgraph) has a floor, from which on
-- everything stays, and a few checkpoints below it that stay for reasons of their own. The
-- namespaces of a subgraph's invocations live and die with the root checkpoint that started
-- them.
--
-- Reasons: last, within, run, pinned, all (asked for by the policy), latest, delta, sends, unclear
-- (needed by LangGraph), invocation (its root checkpoint stays), recent (nothing has been written
-- after it yet, and it has not been there for long), ahead (it descends from what the latest
-- pointer names), idle (its thread is to be found idle once more before it expires).

local decide = {}

-- Below every id, above every id.
local BOTTOM, TOP = "", "\255"
-- How far up a leaf's ancestors are followed, and how many documents are read for that in a call.
local MOST_STEPS, MOST_PARENTS = 16, 1000
-- Entries read ahead when a chain of ancestors is followed, and at most when the newest are proved.
local AHEAD, MOST_AHEAD = 40, 500

-- The entries of a namespace that counts by itself. One whose name carries a task id does so when
-- none of its checkpoints says which root it belongs to.
function decide.space(ns)
  local kind = layout.of_task(ns) and entry.TASK or entry.STANDING
  return { ns = ns, kind = kind, prefix = entry.of(kind, ns) }
end

local ROOT = { ns = "", kind = entry.STANDING, prefix = entry.of(entry.STANDING, "") }

local function add_reason(kept, id, reason)
  kept[id] = kept[id] or {}
  for _, known in ipairs(kept[id]) do
    if known == reason then return end
  end
  table.insert(kept[id], reason)
end

local function is_real(thread, ns, id)
  return layout.real(thread, ns, { id })[id]
end

local function ids_down(view, space, below, chunk, visit)
  local prefix, last = space.prefix, nil
  index.each_down(view, "(" .. prefix .. below, "[" .. prefix, chunk, function(member)
    local id = entry.id(member, prefix)
    if id == last then return true end
    last = id
    return visit(id)
  end)
end

-- The newest `count` checkpoints that really exist at this moment; those that the index knows
-- and that are gone are added to `gone`. Of more than given.gone it finds none, and says so. An
-- earlier call of the same trim has read them: then it is enough that all of them are still there.
local function newest_real(view, thread, space, count, gone, given)
  local prefix, ns = space.prefix, space.ns
  local real, found, high, last = {}, 0, "(" .. prefix .. TOP, nil
  local ahead = math.min(count, MOST_AHEAD)
  while count > 0 do
    local members = view.down(high, "[" .. prefix, ahead)
    local ids = entry.ids(members, prefix)
    local all = given.again and layout.all_exist(thread, ns, ids)
    local exists = all or layout.real(thread, ns, ids)
    for at = 1, #ids do
      local id = ids[at]
      if id ~= last and (all or exists[id]) then
        found = found + 1
        real[found] = id
        if found == count then return real end
      elseif id ~= last then
        gone[#gone + 1] = id
      end
      last = id
    end
    if #members < ahead then break end
    if #gone > given.gone then return {}, true end
    high = "(" .. members[#members]
  end
  return real
end

-- When a checkpoint was made: by its id, else by what the saver noted when it was put. An age that
-- nobody knows cannot be proved.
local function made_at(thread, ns, id)
  local made, kind = clock.of_id(id)
  if made then return made, kind end
  return layout.put_at(thread, ns, id), nil
end

-- The oldest id that is not older than `oldest_ms`, walking down from `floor`.
local function floor_within(view, thread, space, floor, oldest_ms)
  local prefix = space.prefix
  while true do
    local below = view.down("(" .. prefix .. floor, "[" .. prefix, 1)[1]
    if not below then return BOTTOM end
    local id = entry.id(below, prefix)
    local made, kind = made_at(thread, space.ns, id)
    if made and made < oldest_ms then return floor end
    local first = kind and clock.first_id(oldest_ms, kind) or id
    floor = bytes.less(first, id) and first or id
  end
end

-- The last checkpoint of each of the newest `count` runs. A pinned one stays anyway and does
-- not use up one of the runs.
local function run_ends(view, thread, count, pinned)
  local ends, counted, below = {}, 0, TOP
  while counted < count do
    local last
    ids_down(view, ROOT, below, 5, function(id)
      if is_real(thread, "", id) then last = id end
      return last == nil
    end)
    if not last then break end
    ends[#ends + 1] = last
    if not pinned[last] then counted = counted + 1 end
    local beginning = view.down("[" .. entry.RUN .. last, "[" .. entry.RUN, 1)[1]
    if not beginning then break end
    below = string.sub(beginning, #entry.RUN + 1)
  end
  return ends
end

-- What is known of a namespace's ancestors, read ahead because most chains are straight.
local function ancestry(view, thread, space)
  local prefix, ns = space.prefix, space.ns
  local exists, chains = {}, {}

  local function read_ahead(id)
    local ids = { id }
    for _, member in ipairs(view.down("(" .. prefix .. id .. "\1", "[" .. prefix, AHEAD)) do
      local fields = entry.fields(member)
      local known = fields[2]
      -- Put twice with different needs: the document decides.
      if chains[known] == nil then chains[known] = entry.chain(fields) or false
      else chains[known] = false end
      ids[#ids + 1] = known
    end
    for known, real in pairs(layout.real(thread, ns, ids)) do exists[known] = real end
  end

  local found = {}

  function found.exists(id)
    if exists[id] == nil then read_ahead(id) end
    return exists[id]
  end

  -- Where the value of a delta channel is, seen from `id`, and the parent.
  function found.look_for(id, channel)
    local chain = chains[id]
    if not chain or chain.here[channel] == nil then
      return layout.look_for(thread, ns, id, channel)
    end
    return chain.here[channel] and "here" or "above", chain.parent
  end

  return found
end

-- Keeps the ancestors of `id` from whose writes the value of a delta channel is replayed, up to
-- and with the first that has the value. Answers the last one reached when its parent is missing
-- before that, else nil.
local function follow_channel(ancestors, kept, walked, id, parent, channel)
  while parent ~= "" do
    if not ancestors.exists(parent) then return id end
    add_reason(kept, parent, "delta")
    local step = channel .. "\0" .. parent
    if walked[step] then return nil end
    walked[step] = true
    local where, next_parent = ancestors.look_for(parent, channel)
    if where ~= "above" then return nil end
    id, parent = parent, next_parent
  end
  return nil
end

-- What is read from documents while a thread is judged: of checkpoints that the index does not
-- know, or only by their name.
--   found     {[unread entry] = {its entries}}: what the index should say instead
--   unjudged  {ns, id} of a checkpoint that this version does not understand
--   short     true when there are more unread ones than a call may read: the verdicts are void
local function new_reading(thread, most)
  local self, ahead = { found = {}, unjudged = nil, short = false }, {}

  -- Reads those of some root checkpoints together of which that can be done.
  function self.look_ahead(members)
    local ids = {}
    for _, member in ipairs(members) do
      if #ids < most and entry.is_unread(member) then
        ids[#ids + 1] = entry.id(member, ROOT.prefix)
      end
    end
    if #ids > 0 then ahead = layout.plain_heads(thread, ids) end
  end

  -- What a checkpoint needs by its own document; `member` is its unread entry, if it has one.
  function self.chain(ns, id, member)
    if member and most == 0 then
      self.short = true
      return nil
    end
    if member then most = most - 1 end
    local head = member and ahead[id] or layout.head(layout.checkpoint_key(thread, ns, id))
    local mine = head and head.thread == thread
    if mine and head.unjudged then self.unjudged = { ns, id } end
    local members = mine and entry.members(head) or {}
    if member then self.found[member] = members end
    return mine and entry.chain(entry.fields(members[1])) or nil
  end

  return self
end

local function ids_of(kept)
  local ids = {}
  for id in pairs(kept) do
    ids[#ids + 1] = id
  end
  return ids
end

-- Calls `visit(id, chain)` for each checkpoint that stays and needs something of its ancestors.
-- `asked` are ids that stay wherever they are; what is kept only for others needs nothing itself.
local function each_chain(view, reading, space, floor, asked, visit)
  local prefix, known = space.prefix, {}
  local function visit_entry(member)
    local id, plain = entry.id(member, prefix)
    known[id] = true
    if plain then return true end
    local chain
    if entry.is_unread(member) then
      chain = reading.chain(space.ns, id, member)
    else
      chain = entry.chain(entry.fields(member))
    end
    if chain then visit(id, chain) end
    return not reading.short
  end
  index.each_page_up(view, "[" .. prefix .. floor, index.past(prefix), function(members)
    local ids, plain = entry.ids(members, prefix)
    if plain then
      for at = 1, #ids do known[ids[at]] = true end
      return true
    end
    reading.look_ahead(members)
    for at = 1, #members do
      if not visit_entry(members[at]) then return false end
    end
    return true
  end)
  for _, id in ipairs(asked) do
    local members = known[id] and {} or index.members_of(view, space.kind, space.ns, id)
    for _, member in ipairs(members) do visit_entry(member) end
    local chain = not known[id] and reading.chain(space.ns, id)
    if chain then visit(id, chain) end
  end
end

-- Reads what is unread of a namespace, and leaves it to the next call to judge: where runs begin
-- is asked of the index.
local function read_all(view, reading, space)
  local any = false
  index.each_page_up(view, "[" .. space.prefix, index.past(space.prefix), function(members)
    reading.look_ahead(members)
    for _, member in ipairs(members) do
      if entry.is_unread(member) then
        reading.chain(space.ns, (entry.id(member, space.prefix)), member)
        any = true
      end
      if reading.short then return false end
    end
    return true
  end)
  reading.short = any
end

-- Adds what the kept checkpoints need of their ancestors. Answers the id below which nothing is
-- clear: a chain breaks there, and whatever is older might belong to it.
local function keep_needed(view, thread, reading, space, floor, kept)
  local ancestors, walked, unclear = ancestry(view, thread, space), {}, BOTTOM
  each_chain(view, reading, space, floor, ids_of(kept), function(id, chain)
    if chain.sends and chain.parent ~= "" and ancestors.exists(chain.parent)
      and layout.sends(thread, space.ns, chain.parent) then
      add_reason(kept, chain.parent, "sends")
    end
    for _, channel in ipairs(chain.channels) do
      local broken = follow_channel(ancestors, kept, walked, id, chain.parent, channel)
      if broken and bytes.less(unclear, broken) then unclear = broken end
    end
  end)
  return unclear
end

-- The leaves of a namespace with ids below `floor`, each {id =, since = when it was first seen,
-- member = its entry}.
local function leaves_below(view, ns, floor)
  local prefix, found = entry.of(entry.LEAF, ns), {}
  index.each_up(view, "[" .. prefix, "(" .. prefix .. floor, function(member)
    local fields = entry.fields(member)
    local since, last = tonumber(fields[3]) or 0, found[#found]
    if last and last.id == fields[2] then
      last.since = math.max(last.since, since)
    else
      found[#found + 1] = { id = fields[2], since = since }
    end
  end)
  return found
end

-- Follows the ancestors of a leaf, all the way to what the latest pointer names: answers those on
-- the way, itself among them, or nil when it does not descend from there. `left` counts down the
-- documents that may be read; where they are used up, it counts as if it did.
local function path_from_latest(thread, ns, id, latest, left)
  local path, seen = {}, {}
  while id ~= "" and not seen[id] and #path < MOST_STEPS do
    if left.documents == 0 then return path end
    left.documents = left.documents - 1
    path[#path + 1], seen[id] = id, true
    id = layout.parent(thread, ns, id)
    if id == latest then return path end
  end
  return nil
end

-- A writer puts the document first and the pointer after it, so that a leaf may be about to be
-- named, wherever its id sorts: it is kept for the grace period, and for as long as it descends
-- from what is named. Answers the leaves; one that does not exist is marked as `gone`.
local function keep_leaves(view, thread, ns, floor, grace, kept)
  local leaves = leaves_below(view, ns, floor)
  if #leaves == 0 then return leaves end
  local ids, now, latest = {}, clock.now_ms(), layout.latest(thread, ns)
  for at, leaf in ipairs(leaves) do ids[at] = leaf.id end
  local exists, left = layout.real(thread, ns, ids), { documents = MOST_PARENTS }
  for _, leaf in ipairs(leaves) do
    if not exists[leaf.id] then
      leaf.gone = true
    else
      if now - leaf.since < grace then add_reason(kept, leaf.id, "recent") end
      local path = latest and grace > 0 and path_from_latest(thread, ns, leaf.id, latest, left)
      for _, id in ipairs(path or {}) do add_reason(kept, id, "ahead") end
    end
  end
  return leaves
end

-- Whether a namespace has a leaf that was first seen within the grace period.
local function has_recent_leaf(view, ns, grace)
  local recent, now = false, nil
  local prefix = entry.of(entry.LEAF, ns)
  index.each_up(view, "[" .. prefix, index.past(prefix), function(member)
    now = now or clock.now_ms()
    recent = now - (tonumber(entry.fields(member)[3]) or 0) < grace
    return not recent
  end)
  return recent
end

local function asked_for(view, thread, ns, policy, pinned)
  local kept = {}
  for id in pairs(pinned) do
    add_reason(kept, id, "pinned")
  end
  if ns == "" and policy.keep_runs > 0 then
    for _, id in ipairs(run_ends(view, thread, policy.keep_runs, pinned)) do
      add_reason(kept, id, "run")
    end
  end
  local latest = layout.latest(thread, ns)
  if latest then add_reason(kept, latest, "latest") end
  return kept
end

-- Only what exists can stay: of the rest, an index entry or some writes may be left.
local function drop_unreal(thread, ns, kept, proved)
  local unproved = {}
  for _, id in ipairs(ids_of(kept)) do
    if not proved[id] then unproved[#unproved + 1] = id end
  end
  for id, real in pairs(layout.real(thread, ns, unproved)) do
    if not real then kept[id] = nil end
  end
end

-- Judges a namespace that counts by itself. Answers a verdict:
--   floor        everything from this id on stays
--   unclear      everything below this id stays
--   kept         what stays in between, by id
--   stays(id)    whether a checkpoint stays
--   reasons(id)  why it stays, nil when it goes
--   oldest()     the oldest id that stays
--   gone         ids that the index knows and that no longer exist
--   leaves       the leaves below the floor, each {id =, gone = whether it no longer exists}
--   more_gone    whether there may be more of these, and everything stays for now
local function judge_namespace(view, thread, reading, space, policy, pinned, given)
  local verdict, proved, ns = { gone = {} }, {}, space.ns
  if ns == "" and policy.keep_runs > 0 then read_all(view, reading, space) end
  local real
  real, verdict.more_gone = newest_real(view, thread, space, policy.keep_last, verdict.gone, given)
  for _, id in ipairs(real) do proved[id] = true end
  local counted = real[policy.keep_last] or BOTTOM
  local asked = counted
  if policy.keep_within >= 0 then
    asked = floor_within(view, thread, space, counted, policy.now() - policy.keep_within)
  end
  local kept = asked_for(view, thread, ns, policy, pinned)
  verdict.leaves = keep_leaves(view, thread, ns, asked, given.grace, kept)
  drop_unreal(thread, ns, kept, proved)
  verdict.unclear = keep_needed(view, thread, reading, space, asked, kept)
  verdict.floor, verdict.kept = asked, kept

  function verdict.stays(id)
    return kept[id] ~= nil or not bytes.less(id, asked) or bytes.less(id, verdict.unclear)
  end

  function verdict.reasons(id)
    if not verdict.stays(id) then return nil end
    local reasons = { unpack(kept[id] or {}) }
    if not bytes.less(id, counted) then
      table.insert(reasons, 1, "last")
    elseif not bytes.less(id, asked) then
      table.insert(reasons, 1, "within")
    elseif #reasons == 0 then
      reasons[1] = "unclear"
    end
    return reasons
  end

  function verdict.oldest()
    local oldest_known = decide.first_id(view, space)
    if oldest_known and bytes.less(oldest_known, verdict.unclear) then return oldest_known end
    local first = view.up("[" .. space.prefix .. verdict.floor, index.past(space.prefix), 1)[1]
    local oldest = first and entry.id(first, space.prefix) or TOP
    for id in pairs(kept) do
      if bytes.less(id, oldest) then oldest = id end
    end
    return oldest
  end

  return verdict
end

-- A verdict by which everything stays for one reason, or everything goes.
local function same_for_all(reason)
  return {
    gone = {},
    leaves = {},
    kept = {},
    unclear = BOTTOM,
    floor = reason and BOTTOM or TOP,
    stays = function() return reason ~= nil end,
    reasons = function() return reason and { reason } end,
    oldest = function() return reason and BOTTOM or TOP end,
  }
end

-- The oldest id that the index knows in a space, nil in an empty one.
function decide.first_id(view, space)
  local member = index.first(view, space.prefix)
  return member and entry.id(member, space.prefix)
end

local function newest_id(view, thread)
  local latest = layout.latest(thread, "")
  local newest
  ids_down(view, ROOT, TOP, 1, function(id)
    newest = id
    return false
  end)
  if not newest or not latest then return newest or latest end
  return bytes.less(newest, latest) and latest or newest
end

-- Whether a thread is idle: nothing has happened in it for `expire` milliseconds, nobody is waited
-- for, and nothing in it is pinned.
local function is_idle(view, thread, policy, pins, grace)
  if policy.expire < 0 or next(pins) then return false end
  local id = newest_id(view, thread)
  local made = id and made_at(thread, "", id)
  if not made or made >= policy.now() - policy.expire then return false end
  if has_recent_leaf(view, "", grace) then return false end
  return policy.expire_waiting or not layout.waits(thread, id)
end

-- Whether it was found idle before, a grace period ago at least: a checkpoint that was on its way
-- then has been met since. Answers its entry of that, too.
local function was_idle(view, policy, grace)
  local member = index.first(view, entry.IDLE)
  if grace <= 0 then return true, member end
  local since = member and tonumber(entry.fields(member)[2])
  return since ~= nil and policy.now() - since >= grace, member
end

-- Judges a thread. `pins` is {[ns] = {[id] = true}}, and {all = true} for the whole thread.
-- `given` says {settled = whether to judge for the end of a trim that may take several calls, not
-- for this call alone, complete = whether the index has all checkpoints of the thread, unread = how
-- many documents may be read of which the index knows only the name, gone = after how many entries
-- of checkpoints that are gone to leave the others to the next call, grace = milliseconds for which
-- a leaf stays, again = whether an earlier call of the same trim has judged already}.
-- Answers:
--   unjudged           {ns, id} of a checkpoint that this version does not understand
--   expired            true when all of the thread goes
--   idle               true when it is idle, and is to be found so once more
--   idle_entry         the index entry that says since when, nil when it has none
--   namespace(ns)      the verdict on a namespace that counts by itself
--   namespaces()       the namespaces that count by themselves, the root first
--   rootless(ns)       whether a namespace with a task id in its name is one of them
--   roots(ns)          the root checkpoints that have started a namespace, oldest first
--   root_stays(root)   whether a root checkpoint stays, or may be on its way
--   invocation(ns)     why the namespace of an invocation stays, nil when it goes
--   reading            what had to be read for that (new_reading); looked at when all is judged
function decide.thread(view, thread, policy, pins, given)
  local judged = { reading = new_reading(thread, given.unread) }
  local odd = index.first(view, entry.UNJUDGED)
  if odd then
    local fields = entry.fields(odd)
    judged.unjudged = { fields[1], fields[2] or "" }
    return judged
  end

  local before
  if policy.expire >= 0 then before, judged.idle_entry = was_idle(view, policy, given.grace) end
  judged.idle = not pins.all and is_idle(view, thread, policy, pins, given.grace)
  judged.expired = judged.idle and before

  local for_all
  if pins.all then
    for_all = same_for_all("pinned")
  elseif judged.expired then
    for_all = same_for_all(nil)
  elseif policy.keep_last < 0 then
    for_all = same_for_all(judged.idle and "idle" or "all")
  end

  local verdicts = {}
  function judged.namespace(ns)
    if not verdicts[ns] then
      verdicts[ns] = for_all
        or judge_namespace(view, thread, judged.reading, decide.space(ns), policy, pins[ns] or {},
          given)
    end
    return verdicts[ns]
  end

  local oldest_root
  local function is_too_old(root)
    if not oldest_root then
      local known = decide.first_id(view, ROOT) or BOTTOM
      oldest_root = given.settled and known ~= BOTTOM and judged.namespace("").oldest() or known
    end
    return bytes.less(root, oldest_root)
  end

  -- A root checkpoint that nobody knows may be on its way, unless it would be the oldest: of which
  -- an index that has not all of them can say nothing.
  function judged.root_stays(root)
    if #index.members_of(view, entry.STANDING, "", root) > 0 then
      return judged.namespace("").stays(root)
    end
    return not given.complete or not is_too_old(root) or is_real(thread, "", root)
  end

  -- Whether the newest checkpoint of an invocation's namespace is one that the index knows: if
  -- not, it does not know the namespace well enough to judge it.
  local function is_known(ns)
    local latest = layout.latest(thread, ns)
    if not latest or #index.members_of(view, entry.TASK, ns, latest) > 0 then return true end
    return not is_real(thread, ns, latest)
  end

  -- Whether the newest checkpoint of an invocation may be about to be named by its pointer: it is
  -- not, and was made in the grace period, by a clock that lags as far behind as can be.
  local function is_being_put(ns)
    if given.grace <= 0 then return false end
    local prefix = entry.of(entry.TASK, ns)
    local newest = view.down(index.past(prefix), "[" .. prefix, 1)[1]
    local id = newest and entry.id(newest, prefix)
    local made = id and id ~= layout.latest(thread, ns) and clock.of_id(id)
    return made and clock.now_ms() - made < clock.LARGEST_DIFFERENCE_MS + given.grace
  end

  -- The root checkpoints that say they have started a namespace, oldest first.
  function judged.roots(ns)
    local start, roots = entry.of(entry.BY_NAMESPACE, ns), {}
    index.each_up(view, "[" .. start, index.past(start), function(member)
      roots[#roots + 1] = entry.fields(member)[2]
    end)
    return roots
  end

  -- Whether a namespace with a task id in its name counts by itself after all.
  function judged.rootless(ns)
    return #judged.roots(ns) == 0
  end

  function judged.invocation(ns)
    if for_all then return for_all.reasons() end
    if pins[ns] then return { "pinned" } end
    for _, root in ipairs(judged.roots(ns)) do
      if judged.root_stays(root) then return { "invocation" } end
    end
    if is_being_put(ns) then return { "recent" } end
    return not is_known(ns) and { "unclear" } or nil
  end

  -- The namespaces that count by themselves, the root first.
  function judged.namespaces()
    local found = {}
    for _, ns in ipairs(index.namespaces(view, entry.STANDING)) do
      if not layout.of_task(ns) then found[#found + 1] = ns end
    end
    for _, ns in ipairs(index.namespaces(view, entry.ROOTLESS)) do
      if judged.rootless(ns) then found[#found + 1] = ns end
    end
    return found
  end

  return judged
end

return decide
