-- indexing: reads checkpoint documents and says what their entries in the index are.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local indexing = {}

-- What to call a checkpoint of which so many write documents have been seen: "unregistered" when
-- its registry does not name them all. `starts` is what layout.key_starts says of its namespace.
function indexing.status(starts, id, writes)
  local unregistered = writes > 0 and layout.registered(starts, id) < writes
  return unregistered and "unregistered" or "checkpoint"
end

-- Reads the document at `key`. `only` is the thread asked for, "" for any; `writes` how many write
-- documents the caller has seen for it, 0 when that is unknown. Answers a status:
--   checkpoint    a checkpoint
--   unregistered  a checkpoint whose registry does not name all its writes
--   stub          a write has come before its checkpoint, or after its end
--   other         a checkpoint of another thread than the one asked for
--   foreign       none of this saver's
-- and, for the first two, the header that the layout read.
function indexing.read(key, only, writes)
  local header, why = layout.header(key)
  if not header then return why end
  if only ~= "" and header.thread ~= only then return "other" end
  if writes == 0 then return "checkpoint", header end
  return indexing.status(layout.key_starts(header.thread, header.ns), header.id, writes), header
end

-- Adds members to the index at `key`, and answers how many are new. A trim that is under way must
-- decide anew then, so its mark is removed. That comes first: at `maxmemory` Redis refuses a script
-- whose first write needs memory.
function indexing.add(key, members)
  redis.call("ZREMRANGEBYLEX", key, entry.range(entry.MARK))
  local added = redis.call("ZADD", key, unpack(entry.scored(members)))
  -- A checkpoint that was known by its name is not to be counted twice.
  local outdated = entry.unread_twins(members)
  if #outdated > 0 then redis.call("ZREM", key, unpack(outdated)) end
  return added
end

-- Leaves of a namespace that are read together: most have one or two.
local FEW_LEAVES = 50

-- The leaves of a namespace that the index knows: a function that answers the entry of a checkpoint
-- as one, nil when it is none.
local function leaves_known(key, ns)
  local view, prefix, known = index.stored(key), entry.of(entry.LEAF, ns), {}
  local members = view.up("[" .. prefix, index.past(prefix), FEW_LEAVES)
  for _, member in ipairs(members) do known[entry.id(member, prefix)] = member end
  return function(id)
    if known[id] or #members < FEW_LEAVES then return known[id] end
    local low, high = entry.leaf_range(ns, id)
    return view.up(low, high, 1)[1]
  end
end

-- Newer entries that are searched for a checkpoint's child: most often it is the first.
local NEXT = 8

-- Whether a checkpoint may be a leaf, as far as the index tells: it knows no child of it, and not
-- the checkpoint itself, unless events have just told of that.
local function may_be_leaf(key, checkpoint, announced)
  local prefix = entry.of(entry.kind(checkpoint.has_task_id), checkpoint.ns)
  local members = index.stored(key).up("[" .. prefix .. checkpoint.id, index.past(prefix), NEXT)
  for _, id in ipairs((entry.ids(members, prefix))) do
    if id == checkpoint.id then
      if not announced then return false end
    elseif layout.parent(checkpoint.thread, checkpoint.ns, id) == checkpoint.id then
      return false
    end
  end
  return true
end

-- The children of some checkpoints, by namespace and parent.
local function by_parent(checkpoints)
  local children = {}
  for _, checkpoint in ipairs(checkpoints) do
    children[checkpoint.ns] = children[checkpoint.ns] or {}
    if checkpoint.parent ~= checkpoint.id then children[checkpoint.ns][checkpoint.parent] = true end
  end
  return children
end

-- The checkpoints that may be leaves. One of an invocation lives and dies with its root, which is a
-- leaf itself as long as the invocation runs.
local function without_invocations(checkpoints)
  local found = {}
  for _, checkpoint in ipairs(checkpoints) do
    if not checkpoint.root then found[#found + 1] = checkpoint end
  end
  return found
end

-- Adds members to the index at `key`, and brings up to date which of some checkpoints of a thread,
-- each {thread =, ns =, id =, parent =, root = the root checkpoint of its invocation}, are leaves.
-- `announced` says that events have just told of them.
function indexing.add_with_leaves(key, members, checkpoints, announced)
  checkpoints = without_invocations(checkpoints)
  local children, leaves, now = by_parent(checkpoints), {}, clock.now_ms()
  -- Nobody knows what was deleted before there was an index.
  if layout.shared_keys_named and #members > 0 and redis.call("EXISTS", key) == 0 then
    members[#members + 1] = entry.shared_keys_left(now)
  end
  for ns, parents in pairs(children) do
    leaves[ns] = leaves_known(key, ns)
    for id in pairs(parents) do
      -- It has two entries if a search and an event have told of it at different times.
      if leaves[ns](id) then redis.call("ZREMRANGEBYLEX", key, entry.leaf_range(ns, id)) end
    end
  end
  for _, checkpoint in ipairs(checkpoints) do
    local ns, id = checkpoint.ns, checkpoint.id
    if not children[ns][id] and (announced or not leaves[ns](id))
      and may_be_leaf(key, checkpoint, announced) then
      members[#members + 1] = entry.leaf(ns, id, now)
    end
  end
  -- The thread is no longer idle.
  if #members > 0 and indexing.add(key, members) > 0 then
    redis.call("ZREMRANGEBYLEX", key, entry.range(entry.IDLE))
  end
end

-- Which root checkpoints the index knows from the first of some ids to the last.
local function known_between(key, ids)
  local known, prefix = {}, entry.of(entry.INDEPENDENT, "")
  if redis.call("EXISTS", key) == 0 then return known end
  local low, high = ids[1], ids[#ids]
  if bytes.less(high, low) then low, high = high, low end
  local first, last = "[" .. prefix .. low, "(" .. prefix .. high .. "\1"
  for _, member in ipairs(redis.call("ZRANGEBYLEX", key, first, last)) do
    known[entry.id(member, prefix)] = true
  end
  return known
end

-- Adds root checkpoints to the index by their names: unread, those that the documents confirm. The
-- ids are in their order, oldest or newest first. Answers which: {[id] = true}.
function indexing.add_roots(key, thread, ids)
  local confirmed, parents = layout.confirm_roots(thread, ids)
  local members, found, added, known = {}, {}, {}, known_between(key, ids)
  for _, id in ipairs(ids) do
    if confirmed[id] == true then
      if not known[id] then members[#members + 1] = entry.unread(id) end
      found[#found + 1] = { thread = thread, ns = "", id = id, parent = parents[id] }
      added[id] = true
    elseif confirmed[id] == "unsupported" then
      members[#members + 1] = entry.of(entry.UNSUPPORTED, "") .. id
    end
  end
  indexing.add_with_leaves(key, members, found, false)
  return added
end

return indexing
