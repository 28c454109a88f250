-- Deletes the checkpoints of some runs of one thread, but for those that others still need.
--
-- Of the runs' checkpoints these are retained: ancestors from which a delta channel of a retained
-- checkpoint is replayed; the parent whose pending sends a retained checkpoint takes (until format
-- 4); and what is pinned.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua); also deleted from
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  keys that this call may delete, at least 10
-- ARGV[5]  the number of runs
-- then     their ids
-- then     what may be their checkpoints: namespace and id of each
--
-- Reply    {state, checkpoints deleted, keys deleted (the documents with them), {ns, id, reason}…}
--          state "done": nothing is left to delete; then what was retained follows, with the
--          reason: delta, sends or pinned; "more": call again; "unsupported": nothing was done,
--          because of the checkpoint that follows
--
-- Other keys it touches are the saver's, of this thread only: reads checkpoint documents, pointers
-- and registries; deletes checkpoint and write documents and registries; a pointer to what is
-- deleted is set to the newest checkpoint that is left, or deleted.
--
-- The newest are deleted first, so that no ancestor is deleted before what needs it. A call reads
-- the entries of the namespaces in which there is something to delete.

--@include layouts/${layout}.lua
--@include include/ancestors.lua
--@include include/decide.lua
--@include include/entry.lua
--@include include/evidence.lua
--@include include/headers.lua
--@include include/index.lua
--@include include/pins.lua
--@include include/deletion.lua

local index_key, thread, limit = KEYS[1], ARGV[1], tonumber(ARGV[4])
local last_run = 5 + tonumber(ARGV[5])
layout.use(ARGV[2], ARGV[3])

local view, its_pins = index.stored(index_key), pins.read(KEYS[2], thread)

-- What the caller has found, as {[ns] = {[id] = true}}: those that are of the runs, and those of
-- which an earlier call has deleted the document alone.
local function candidates()
  local runs, found = {}, {}
  for at = 6, last_run do runs[ARGV[at]] = true end
  for at = last_run + 1, #ARGV, 2 do
    local ns, id = ARGV[at], ARGV[at + 1]
    local run = layout.run_of(thread, ns, id)
    if run == nil or runs[run] then
      found[ns] = found[ns] or {}
      found[ns][id] = true
    end
  end
  return found
end

-- What the index knows of a namespace: {ids =, oldest first, members = by id}.
local function read_namespace(namespace)
  local found = { ids = {}, members = {} }
  index.each_of(view, namespace.prefix, function(member)
    local id = entry.id(member, namespace.prefix)
    if not found.members[id] then
      found.ids[#found.ids + 1], found.members[id] = id, {}
    end
    table.insert(found.members[id], member)
  end)
  return found
end

local reader = headers.reader(thread, math.huge)

-- Drops of a checkpoint's needs what retains none of those asked for: a channel of which it has the
-- value, and pending sends of another parent.
local function narrow(needs, asked)
  local channels = {}
  for _, channel in ipairs(needs.channels) do
    if not needs.has_value[channel] then channels[#channels + 1] = channel end
  end
  needs.channels, needs.pending_sends = channels, needs.pending_sends and asked[needs.parent]
end

-- Why checkpoints are retained: {[id] = {reason…}}. An ancestor that is retained for others needs
-- only what these ask of it.
local function needed(namespace, asked)
  local rules, pinned = { retained = {}, unclear_below = decide.LOWEST }, {}
  for id in pairs(its_pins.whole_thread and asked or its_pins.checkpoints[namespace.ns] or {}) do
    pinned[id] = true
    decide.retain(rules, id, "pinned")
  end
  local retain = ancestors.retainer(view, thread, namespace, rules)
  headers.each_needs(view, reader, namespace, decide.LOWEST, {}, function(id, needs)
    if asked[id] and not pinned[id] then return end
    narrow(needs, asked)
    retain(id, needs)
  end)
  return rules.retained
end

-- Collects what is to delete of a namespace, the newest first. Answers what was collected whole,
-- and whether that is all.
local function collect(to_delete, ns, known, asked, retained)
  local starts, whole = layout.key_starts(thread, ns), {}
  for at = #known.ids, 1, -1 do
    local id = known.ids[at]
    if asked[id] and not retained[id] then
      if to_delete.collect(starts, { id }, 1, 1) == 0 then return whole, false end
      whole[#whole + 1] = id
    end
  end
  return whole, true
end

-- Sets a pointer that names what is gone to the newest that is left, or deletes it.
local function move_pointer(namespace)
  local ns = namespace.ns
  local latest = layout.latest(thread, ns)
  if not latest or layout.exists(thread, ns, latest) then return 0 end
  local newest = evidence.existing_before(view, thread, namespace, decide.HIGHEST)
  if not newest then return redis.call("UNLINK", layout.latest_key(thread, ns)) end
  layout.set_latest(thread, ns, newest)
  return 0
end

local function forget(ns, known, id)
  redis.call("ZREM", index_key, unpack(known.members[id]))
  redis.call("ZREMRANGEBYLEX", index_key, entry.leaf_range(ns, id))
end

local namespaces, rows, unsupported = {}, {}, index.unsupported(view)
for ns, asked in pairs(unsupported and {} or candidates()) do
  local namespace = evidence.namespace(ns)
  local known, retained = read_namespace(namespace), needed(namespace, asked)
  for _, id in ipairs(known.ids) do
    if asked[id] and retained[id] then rows[#rows + 1] = { ns, id, retained[id][1] } end
  end
  namespaces[#namespaces + 1] =
    { namespace = namespace, known = known, asked = asked, retained = retained }
end
unsupported = unsupported or reader.unsupported
if unsupported then return { "unsupported", 0, 0, { unsupported[1], unsupported[2], "" } } end

local to_delete, done = deletion.new(limit), true
for _, one in ipairs(namespaces) do
  if not done then break end
  one.whole, done = collect(to_delete, one.namespace.ns, one.known, one.asked, one.retained)
end
to_delete.run()
local keys = to_delete.keys
for _, one in ipairs(namespaces) do
  if one.whole then keys = keys + move_pointer(one.namespace) end
  for _, id in ipairs(one.whole or {}) do forget(one.namespace.ns, one.known, id) end
end
if not done then return { "more", to_delete.checkpoints, keys } end
if index.checkpoints(index_key, thread) == 0 then redis.call("UNLINK", index_key) end
return { "done", to_delete.checkpoints, keys, unpack(rows) }
