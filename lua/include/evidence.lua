-- evidence: what include/decide.lua must know of a thread, read from its index and documents.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/leaves.lua

local evidence = {}

-- Entries read together at most when the newest checkpoints are looked up.
local MOST_AHEAD = 500
-- Newest checkpoints that one call of a trim reads; the next calls read the rest. For some seconds
-- they only ask whether what was read is still there.
local MOST_READ, READ_LASTS_MS = 2000, 10000

-- An independent namespace. One whose name carries a task id is one when none of its checkpoints
-- says which root checkpoint started it.
function evidence.namespace(ns)
  local kind = entry.kind(layout.has_task_id(ns))
  return { ns = ns, kind = kind, prefix = entry.of(kind, ns) }
end

evidence.ROOT = { ns = "", kind = entry.INDEPENDENT, prefix = entry.of(entry.INDEPENDENT, "") }

-- When a checkpoint was made, by its id, else by what the saver noted when it was put; and a
-- function that says which id is the first not older than a time, if ids say that.
function evidence.made_at(thread, ns, id)
  local made, format = clock.of_id(id)
  if not made then return layout.put_at(thread, ns, id) end
  return made, function(ms) return clock.first_id(ms, format) end
end

-- The id down to which calls of a trim have just read the newest checkpoints, nil without any.
local function read_down_to(view, ns)
  local member = index.first(view, entry.of(entry.READ, ns))
  local fields = member and entry.fields(member)
  local is_fresh = fields and clock.now_ms() - (tonumber(fields[3]) or 0) < READ_LASTS_MS
  return is_fresh and fields[2] or nil
end

-- What earlier calls of the same trim have read: all, or, where that is too much for one call, down
-- to the id that the index says.
local function earlier_reads(view, ns, count, options)
  local self, in_parts = {}, count > MOST_READ and not options.at_end
  self.in_parts = in_parts
  local lowest = in_parts and read_down_to(view, ns) or nil
  local left = in_parts and MOST_READ or math.huge

  -- Whether a checkpoint has been read, and all newer ones.
  function self.include(id)
    if not in_parts then return options.again end
    return lowest ~= nil and not bytes.less(id, lowest)
  end

  -- Whether so many documents may be read.
  function self.may_read(documents)
    left = left - documents
    return left >= 0
  end

  return self
end

-- The newest `count` checkpoints that exist at this moment, newest first; ids of missing ones are
-- added to `missing`. Answers none, and true, when more than options.most_missing are missing, or
-- when there are too many for one call to read; then also the id down to which this call has read.
-- Of what an earlier call of the same trim has read, it only asks whether it is still there.
local function newest_existing(view, thread, namespace, count, missing, options)
  local prefix, ns = namespace.prefix, namespace.ns
  local newest, found, high, last = {}, 0, "(" .. prefix .. decide.HIGHEST, nil
  local ahead, read = math.min(count, MOST_AHEAD), earlier_reads(view, ns, count, options)
  while count > 0 do
    local members = view.down(high, "[" .. prefix, ahead)
    local ids = entry.ids(members, prefix)
    local all = #ids > 0 and read.include(ids[#ids]) and layout.all_exist(thread, ns, ids)
    if not all and not read.may_read(#ids) then return {}, true, last end
    local exists = all or layout.existing(thread, ns, ids)
    for at = 1, #ids do
      local id = ids[at]
      if id ~= last and (all or exists[id]) then
        found = found + 1
        newest[found] = id
        if found == count then return newest, false, read.in_parts and id or nil end
      elseif id ~= last then
        missing[#missing + 1] = id
      end
      last = id
    end
    if #members < ahead then break end
    if #missing > options.most_missing then return {}, true end
    high = "(" .. members[#members]
  end
  return newest
end

-- The newest checkpoint older than `id` that exists, nil when there is none.
function evidence.existing_before(view, thread, namespace, id)
  local prefix, found, last = namespace.prefix, nil, nil
  index.each_down(view, "(" .. prefix .. id, "[" .. prefix, 5, function(member)
    local older = entry.id(member, prefix)
    if older ~= last and layout.exists(thread, namespace.ns, older) then found = older end
    last = older
    return found == nil
  end)
  return found
end

-- What decide.namespace must know of an independent namespace; and
--   missing       ids that the index knows and whose documents are gone
--   more_missing  true when there may be more of these: then nothing is deleted for now
--   read_to       the id down to which the newest were read, where they were too many for one call
-- `options` is what include/decisions.lua was given.
function evidence.checkpoints(view, thread, namespace, latest, pinned, policy, options)
  local self, prefix = { missing = {}, pinned = pinned, latest = latest }, namespace.prefix
  self.newest, self.more_missing, self.read_to =
    newest_existing(view, thread, namespace, policy.keep_last, self.missing, options)

  function self.before(id)
    local below = view.down("(" .. prefix .. id, "[" .. prefix, 1)[1]
    if not below then return nil end
    local older = { id = entry.id(below, prefix) }
    older.made_at, older.first_id = evidence.made_at(thread, namespace.ns, older.id)
    return older
  end

  function self.existing_before(id)
    return evidence.existing_before(view, thread, namespace, id)
  end

  if layout.listed then
    self.hides_runs = layout.run_start == nil
    self.run_start = layout.run_start and function(id) return layout.run_start(thread, id) end
  elseif namespace.ns == "" then
    function self.run_start(id)
      local start = view.down("[" .. entry.RUN_START .. id, "[" .. entry.RUN_START, 1)[1]
      return start and string.sub(start, #entry.RUN_START + 1)
    end
  end

  function self.leaves_below(floor)
    return leaves.below(view, thread, namespace.ns, floor, latest, options)
  end

  return self
end

-- What decide.is_idle and decide.has_expired must know of a thread; `latest` is what the root's
-- latest pointer names, `idle_since` when the thread was found idle, nil if it was not.
function evidence.activity(view, thread, latest, has_pins, grace, idle_since)
  local self, newest = { has_pins = has_pins }, nil

  function self.made_at()
    newest = index.newest_id(view, evidence.ROOT.prefix)
    if latest and (not newest or bytes.less(newest, latest)) then newest = latest end
    return newest and (evidence.made_at(thread, "", newest))
  end

  -- A checkpoint that is put removes the entry that the thread was idle.
  function self.has_begun_to_expire()
    return idle_since ~= nil and not latest and not index.newest_id(view, evidence.ROOT.prefix)
  end

  function self.has_recent_leaf()
    local recent, now = false, clock.now_ms()
    index.each_of(view, entry.of(entry.LEAF, ""), function(member)
      recent = now - (tonumber(entry.fields(member)[3]) or 0) < grace
      return not recent
    end)
    return recent
  end

  -- Where the newest was deleted or has expired, the next one is what LangGraph goes on from.
  function self.waits()
    local id = newest
    if not layout.exists(thread, "", id) then
      id = evidence.existing_before(view, thread, evidence.ROOT, id)
    end
    return id ~= nil and layout.waits(thread, id)
  end

  return self
end

return evidence
