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
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
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
--@include include/entry.lua
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

local function kind_of(ns)
  return layout.has_task_id(ns) and entry.INVOCATION or entry.INDEPENDENT
end

-- What the index knows of a namespace: {ids =, oldest first, members = by id, needs = by id}. An
-- entry that has not been read is read.
local function read_namespace(ns)
  local prefix = entry.of(kind_of(ns), ns)
  local found = { ids = {}, members = {}, needs = {} }
  index.each_of(view, prefix, function(member)
    local id, plain = entry.id(member, prefix)
    if not found.members[id] then
      found.ids[#found.ids + 1], found.members[id], found.needs[id] = id, {}, {}
    end
    table.insert(found.members[id], member)
    if plain then return end
    local said = member
    if entry.is_unread(member) then
      local header = layout.header(layout.checkpoint_key(thread, ns, id))
      if header and header.unsupported then found.unsupported = id end
      said = header and entry.members(header)[1] or member
    end
    if not entry.is_unread(said) then
      local its = entry.needs(entry.fields(said))
      if its then table.insert(found.needs[id], its) end
    end
  end)
  return found
end

-- Why checkpoints of the runs are retained: {[id] = reason}. The needs of each retained checkpoint
-- are followed up; an ancestor that is retained for others needs only what these ask of it.
local function needed(ns, known, asked)
  local retained, walked = {}, {}
  for id in pairs(its_pins.whole_thread and asked or its_pins.checkpoints[ns] or {}) do
    if asked[id] then retained[id] = "pinned" end
  end

  local function where_is(id, channel)
    for _, its in ipairs(known.needs[id] or {}) do
      if its.has_value[channel] ~= nil then
        return its.has_value[channel] and "here" or "above", its.parent
      end
    end
    return layout.locate(thread, ns, id, channel)
  end

  local function follow(parent, channel)
    while parent and parent ~= "" and not walked[channel .. "\0" .. parent] do
      walked[channel .. "\0" .. parent] = true
      if asked[parent] then retained[parent] = retained[parent] or "delta" end
      local where
      where, parent = where_is(parent, channel)
      if where ~= "above" then return end
    end
  end

  local function follow_all(id)
    for _, its in ipairs(known.needs[id] or {}) do
      for _, channel in ipairs(its.channels) do
        if not its.has_value[channel] then follow(its.parent, channel) end
      end
      if its.pending_sends and asked[its.parent] and not retained[its.parent]
        and layout.has_sends(thread, ns, its.parent) then
        retained[its.parent] = "sends"
      end
    end
  end

  for _, id in ipairs(known.ids) do
    if not asked[id] or retained[id] == "pinned" then follow_all(id) end
  end
  return retained
end

-- Collects what is to delete of a namespace, the newest first. Answers what was collected whole,
-- and one of which (a part) is left for the next call, nil when there is none.
local function collect(to_delete, ns, known, asked, retained)
  local starts, whole = layout.key_starts(thread, ns), {}
  for at = #known.ids, 1, -1 do
    local id = known.ids[at]
    if asked[id] and not retained[id] then
      if to_delete.collect(starts, { id }, 1, 1) == 0 then return whole, id end
      whole[#whole + 1] = id
    end
  end
  return whole, nil
end

-- Sets a pointer that names what is gone to the newest that is left, or deletes it.
local function move_pointer(ns, known)
  local latest = layout.latest(thread, ns)
  if not latest or layout.exists(thread, ns, latest) then return 0 end
  local pointer = layout.latest_key(thread, ns)
  for at = #known.ids, 1, -1 do
    local id = known.ids[at]
    if layout.exists(thread, ns, id) then
      redis.call("SET", pointer, layout.checkpoint_key(thread, ns, id), "KEEPTTL")
      return 0
    end
  end
  return redis.call("UNLINK", pointer)
end

local function forget(ns, known, id)
  redis.call("ZREM", index_key, unpack(known.members[id]))
  redis.call("ZREMRANGEBYLEX", index_key, entry.leaf_range(ns, id))
end

local unsupported = index.first(view, entry.UNSUPPORTED)
if unsupported then
  local fields = entry.fields(unsupported)
  return { "unsupported", 0, 0, { fields[1], fields[2] or "", "" } }
end

local to_delete, asked, done = deletion.new(limit), candidates(), true
local spaces, rows = {}, {}
for ns, ids in pairs(asked) do
  local known = read_namespace(ns)
  if known.unsupported then return { "unsupported", 0, 0, { ns, known.unsupported, "" } } end
  local retained = needed(ns, known, ids)
  for _, id in ipairs(known.ids) do
    if retained[id] then rows[#rows + 1] = { ns, id, retained[id] } end
  end
  spaces[#spaces + 1] = { ns = ns, known = known, ids = ids, retained = retained }
end
for _, space in ipairs(spaces) do
  if not done then break end
  local left
  space.whole, left = collect(to_delete, space.ns, space.known, space.ids, space.retained)
  done = left == nil
end
to_delete.run()
local keys = to_delete.keys
for _, space in ipairs(spaces) do
  if space.whole then keys = keys + move_pointer(space.ns, space.known) end
  for _, id in ipairs(space.whole or {}) do forget(space.ns, space.known, id) end
end
if not done then return { "more", to_delete.checkpoints, keys } end
if index.checkpoints(index_key, thread) == 0 then redis.call("UNLINK", index_key) end
return { "done", to_delete.checkpoints, keys, unpack(rows) }
