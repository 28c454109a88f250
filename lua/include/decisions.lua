-- decisions: what include/decide.lua decides about each namespace of one thread, made when it is
-- first asked for. Trim and plan use the same, so that they cannot differ.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/evidence.lua
--@include include/headers.lua
--@include include/ancestors.lua

local decisions = {}

-- Retains nothing of which the document is missing.
local function drop_missing(thread, ns, rules, newest)
  local exists, unproved = {}, {}
  for _, id in ipairs(newest) do exists[id] = true end
  for id in pairs(rules.retained) do
    if not exists[id] then unproved[#unproved + 1] = id end
  end
  for id, is_there in pairs(layout.existing(thread, ns, unproved)) do
    if not is_there then rules.retained[id] = nil end
  end
end

-- The oldest id that is retained.
local function oldest_retained(view, namespace, rules)
  if rules.for_all then return decide.LOWEST end
  if rules.deletes_all then return decide.HIGHEST end
  local oldest_known = index.oldest_id(view, namespace.prefix)
  if oldest_known and bytes.less(oldest_known, rules.unclear_below) then return oldest_known end
  local first = view.up("[" .. namespace.prefix .. rules.floor, index.past(namespace.prefix), 1)[1]
  local oldest = first and entry.id(first, namespace.prefix) or decide.HIGHEST
  for id in pairs(rules.retained) do
    if bytes.less(id, oldest) then oldest = id end
  end
  return oldest
end

-- Decides about a thread. `its_pins` is what include/pins.lua reads. `options`:
--   at_end        decide for the end of a trim that may take several calls, not for this call alone
--   complete      the index has all checkpoints of the thread
--   most_unread   documents that may be read of which the index knows only the name
--   most_missing  entries of missing checkpoints after which others are left to the next call
--   grace         milliseconds for which a leaf is retained
--   again         an earlier call of the same trim has decided already
-- Answers:
--   unsupported       {ns, id} of a checkpoint that this version does not understand: then there is
--                     nothing else
--   has_pins          something in it is pinned
--   latest(ns)        the id that the latest pointer of a namespace names, nil without one
--   is_expired        all of the thread is deleted
--   is_idle           it is idle; unless it is expired, it must be found so once more
--   retains_all       all of it is retained
--   idle_entry        the index entry that says since when, nil when there is none
--   namespace(ns)     the rules for an independent namespace; beside what decide.lua says:
--                     newest, missing, more_missing, read_to (include/evidence.lua), has_needs
--                     (include/ancestors.lua)
--   is_independent(kind, ns)  whether a namespace that has entries of that kind is independent
--   roots(ns)         the root checkpoints that say they have started a namespace, oldest first
--   retains_root(id)  whether a root checkpoint is retained, or may still arrive
--   invocation(ns)    why the namespace of an invocation is retained, nil when it is deleted
--   reader            what had to be read (include/headers.lua); to be checked in the end
function decisions.of_thread(view, thread, policy, its_pins, options)
  local self = { reader = headers.reader(thread, options.most_unread) }
  self.unsupported = index.unsupported(view)
  if self.unsupported then return self end

  self.has_pins = its_pins.whole_thread or next(its_pins.checkpoints) ~= nil

  local latest_ids = {}
  local function latest(ns)
    if latest_ids[ns] == nil then latest_ids[ns] = layout.latest(thread, ns) or false end
    return latest_ids[ns] or nil
  end
  self.latest = latest

  if policy.expire >= 0 then
    self.idle_entry = index.first(view, entry.IDLE)
    local since = self.idle_entry and tonumber(entry.fields(self.idle_entry)[2])
    local activity =
      evidence.activity(view, thread, latest(""), self.has_pins, options.grace, since)
    self.is_idle = decide.is_idle(activity, policy)
    self.is_expired = self.is_idle and decide.has_expired(activity, since, policy, options.grace)
  end

  local whole_thread =
    decide.whole_thread(its_pins.whole_thread, self.is_idle, self.is_expired, policy)

  self.retains_all = whole_thread ~= nil and not whole_thread.deletes_all

  local function pinned(ns) return its_pins.checkpoints[ns] or {} end

  local function decide_namespace(ns)
    local namespace = evidence.namespace(ns)
    if ns == "" and policy.keep_runs > 0 then headers.read_all(view, self.reader) end
    local checkpoints =
      evidence.checkpoints(view, thread, namespace, latest(ns), pinned(ns), policy, options)
    local rules = decide.namespace(checkpoints, policy, options.grace)
    if layout.listed then
      for _, id in ipairs(layout.latest_too(thread)) do decide.retain(rules, id, "latest") end
    end
    drop_missing(thread, ns, rules, checkpoints.newest)
    ancestors.retain_needed(view, thread, self.reader, namespace, rules)
    rules.newest, rules.missing = checkpoints.newest, checkpoints.missing
    rules.more_missing, rules.read_to = checkpoints.more_missing, checkpoints.read_to
    return rules
  end

  local rules_of = {}
  function self.namespace(ns)
    if not rules_of[ns] then rules_of[ns] = whole_thread or decide_namespace(ns) end
    return rules_of[ns]
  end

  local oldest_root
  local function is_too_old(root)
    if not oldest_root then
      oldest_root = index.oldest_id(view, evidence.ROOT.prefix) or decide.LOWEST
      if options.at_end and oldest_root ~= decide.LOWEST then
        oldest_root = oldest_retained(view, evidence.ROOT, self.namespace(""))
      end
    end
    return bytes.less(root, oldest_root)
  end

  local function is_indexed(kind, ns, id)
    return #index.members_of(view, kind, ns, id) > 0
  end

  -- A root checkpoint that is not in the index may still arrive, unless it would be the oldest. An
  -- index that does not have all checkpoints cannot tell.
  function self.retains_root(root)
    if is_indexed(entry.INDEPENDENT, "", root) then
      return decide.retains(self.namespace(""), root)
    end
    return not options.complete or not is_too_old(root) or layout.exists(thread, "", root)
  end

  function self.roots(ns)
    local roots = {}
    index.each_of(view, entry.of(entry.STARTED_BY, ns), function(member)
      roots[#roots + 1] = entry.fields(member)[2]
    end)
    return roots
  end

  function self.invocation(ns)
    if whole_thread then return decide.reasons(whole_thread, "") end
    return decide.invocation({
      pinned = its_pins.checkpoints[ns] ~= nil,
      roots = self.roots(ns),
      is_retained = self.retains_root,
      -- It was made within the grace period, if its writer's clock may lag behind the server's.
      is_being_put = function()
        if options.grace <= 0 then return false end
        local newest = index.newest_id(view, entry.of(entry.INVOCATION, ns))
        local made = newest and newest ~= latest(ns) and clock.of_id(newest)
        return made and clock.now_ms() - made < clock.LARGEST_DIFFERENCE_MS + options.grace
      end,
      is_indexed = function()
        local newest = latest(ns)
        return not newest or is_indexed(entry.INVOCATION, ns, newest)
          or not layout.exists(thread, ns, newest)
      end,
    })
  end

  function self.is_independent(kind, ns)
    if kind == entry.INDEPENDENT then return not layout.has_task_id(ns) end
    return kind == entry.WITHOUT_ROOT and #self.roots(ns) == 0
  end

  return self
end

return decisions
