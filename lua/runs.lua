-- Deletes the checkpoints of some runs of one thread, but for those that others still need.
--
-- Of the runs' checkpoints these stay: what a delta channel of a checkpoint that stays is replayed
-- from; the parent whose pending sends a checkpoint takes that stays (until format 4); and what is
-- pinned.
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
--          state "done": nothing is left to delete; then what was kept follows, with the reason:
--          delta, sends or pinned; "more": call again; "unjudged": nothing was done, because of the
--          checkpoint that follows
--
-- Other keys it touches are the saver's, of this thread only: reads checkpoint documents, pointers
-- and registries; deletes checkpoint and write documents and registries; a pointer to what goes is
-- set to the newest checkpoint that is left, or deleted.
--
-- The newest go first, so that no ancestor goes before what needs it. A call reads the entries of
-- the namespaces in which there is something to delete.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/pins.lua
--@include include/memory.lua
--@include include/removal.lua

local key, thread, limit = KEYS[1], ARGV[1], tonumber(ARGV[4])
layout.use(ARGV[2], ARGV[3])
local view, pinned = index.stored(key), pins.read(KEYS[2])

-- What the caller has found, as {[ns] = {[id] = true}}: those that are of the runs, and those of
-- which an earlier call has deleted the document alone.
local function candidates()
  local runs, found = {}, {}
  local last = 5 + tonumber(ARGV[5])
  for at = 6, last do runs[ARGV[at]] = true end
  for at = last + 1, #ARGV, 2 do
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
  return layout.of_task(ns) and entry.TASK or entry.STANDING
end

-- What the index knows of a namespace: {ids =, oldest first, members = by id, chains = by id}. An
-- entry that has not been read is read.
local function read_namespace(ns)
  local prefix = entry.of(kind_of(ns), ns)
  local found = { ids = {}, members = {}, chains = {} }
  index.each_up(view, "[" .. prefix, index.past(prefix), function(member)
    local id, plain = entry.id(member, prefix)
    if not found.members[id] then
      found.ids[#found.ids + 1], found.members[id], found.chains[id] = id, {}, {}
    end
    table.insert(found.members[id], member)
    if plain then return end
    local said = member
    if entry.is_unread(member) then
      local head = layout.head(layout.checkpoint_key(thread, ns, id))
      if head and head.unjudged then found.unjudged = id end
      said = head and entry.members(head)[1] or member
    end
    if not entry.is_unread(said) then
      table.insert(found.chains[id], entry.chain(entry.fields(said)) or nil)
    end
  end)
  return found
end

-- Why checkpoints stay that are to go: {[id] = reason}. From each that stays its needs are followed
-- up; an ancestor that is kept for others needs only what these ask of it.
local function needed(ns, known, going)
  local kept, walked = {}, {}
  for id in pairs(pinned.all and going or pinned[ns] or {}) do
    if going[id] then kept[id] = "pinned" end
  end

  local function where_is(id, channel)
    for _, chain in ipairs(known.chains[id] or {}) do
      if chain.here[channel] ~= nil then
        return chain.here[channel] and "here" or "above", chain.parent
      end
    end
    return layout.look_for(thread, ns, id, channel)
  end

  local function follow(parent, channel)
    while parent and parent ~= "" and not walked[channel .. "\0" .. parent] do
      walked[channel .. "\0" .. parent] = true
      if going[parent] then kept[parent] = kept[parent] or "delta" end
      local where
      where, parent = where_is(parent, channel)
      if where ~= "above" then return end
    end
  end

  local function follow_all(id)
    for _, chain in ipairs(known.chains[id] or {}) do
      for _, channel in ipairs(chain.channels) do
        if not chain.here[channel] then follow(chain.parent, channel) end
      end
      if chain.sends and going[chain.parent] and not kept[chain.parent]
        and layout.sends(thread, ns, chain.parent) then
        kept[chain.parent] = "sends"
      end
    end
  end

  for _, id in ipairs(known.ids) do
    if not going[id] or kept[id] == "pinned" then follow_all(id) end
  end
  return kept
end

-- Takes what goes of a namespace, the newest first. Answers what was taken whole, and one of which
-- (a part) is left for the next call, nil when there is none.
local function take(taking, ns, known, going, kept)
  local names, whole = layout.names(thread, ns), {}
  for at = #known.ids, 1, -1 do
    local id = known.ids[at]
    if going[id] and not kept[id] then
      if taking.take(names, { id }, 1, 1) == 0 then return whole, id end
      whole[#whole + 1] = id
    end
  end
  return whole, nil
end

-- Sets a pointer that names what is gone to the newest that is left, or deletes it.
local function move_pointer(ns, known)
  local latest = layout.latest(thread, ns)
  if not latest or layout.real(thread, ns, { latest })[latest] then return 0 end
  local pointer = layout.latest_key(thread, ns)
  for at = #known.ids, 1, -1 do
    local id = known.ids[at]
    if layout.real(thread, ns, { id })[id] then
      redis.call("SET", pointer, layout.checkpoint_key(thread, ns, id), "KEEPTTL")
      return 0
    end
  end
  return redis.call("UNLINK", pointer)
end

local function forget(ns, known, id)
  redis.call("ZREM", key, unpack(known.members[id]))
  local leaf = entry.of(entry.LEAF, ns) .. id
  redis.call("ZREMRANGEBYLEX", key, "[" .. leaf .. "\0", "(" .. leaf .. "\1")
end

local odd = index.first(view, entry.UNJUDGED)
if odd then
  local fields = entry.fields(odd)
  return { "unjudged", 0, 0, { fields[1], fields[2] or "", "" } }
end

local taking, going, done = removal.new(limit), candidates(), true
local spaces, rows = {}, {}
for ns, ids in pairs(going) do
  local known = read_namespace(ns)
  if known.unjudged then return { "unjudged", 0, 0, { ns, known.unjudged, "" } } end
  local kept = needed(ns, known, ids)
  for _, id in ipairs(known.ids) do
    if kept[id] then rows[#rows + 1] = { ns, id, kept[id] } end
  end
  spaces[#spaces + 1] = { ns = ns, known = known, ids = ids, kept = kept }
end
for _, space in ipairs(spaces) do
  if not done then break end
  local left
  space.whole, left = take(taking, space.ns, space.known, space.ids, space.kept)
  done = left == nil
end
taking.run()
local keys = taking.keys
for _, space in ipairs(spaces) do
  if space.whole then keys = keys + move_pointer(space.ns, space.known) end
  for _, id in ipairs(space.whole or {}) do forget(space.ns, space.known, id) end
end
if not done then return { "more", taking.checkpoints, keys } end
if index.checkpoints(key) == 0 then redis.call("UNLINK", key) end
return { "done", taking.checkpoints, keys, unpack(rows) }
