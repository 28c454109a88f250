-- indexing: reads checkpoint documents and says what their entries in the index are.

local indexing = {}

-- The letter of a checkpoint of which so many write documents have been seen.
function indexing.letter(thread, ns, id, writes)
  return writes > 0 and layout.registered(thread, ns, id) < writes and "u" or "r"
end

-- Reads the document at `key`. `only` is the thread asked for, "" for any; `writes` how many write
-- documents the caller has seen for it, 0 when it has not looked. Answers a letter, and for r and
-- u the head that the layout read:
--   r  a checkpoint               u  a checkpoint whose registry does not name all its writes
--   p  a stub of a checkpoint     o  a checkpoint of another thread than the one asked for
--   f  foreign, none of this saver's
function indexing.read(key, only, writes)
  local head, why = layout.head(key)
  if not head then return why == "partial" and "p" or "f" end
  if only ~= "" and head.thread ~= only then return "o" end
  return indexing.letter(head.thread, head.ns, head.id, writes), head
end

-- Adds members to the index at `key`. At `maxmemory` a script is refused whose first write adds,
-- but not one that has deleted: what an index costs is little beside what its trim frees.
function indexing.add(key, members)
  local scored = entry.scored(members)
  local reply = redis.pcall("ZADD", key, unpack(scored))
  if type(reply) ~= "table" or not reply.err then return end
  if not string.find(reply.err, "OOM", 1, true) then error(reply) end
  redis.call("UNLINK", key .. ":none")
  redis.call("ZADD", key, unpack(scored))
end

-- When a checkpoint counts as first seen that a look at the database finds for the first time: long
-- ago where its id says so, whatever the difference of clocks, else now.
local function first_seen(id, now)
  local made = clock.of_id(id)
  return made and now - made > clock.LARGEST_DIFFERENCE_MS and 0 or now
end

-- The entry of a checkpoint as a leaf. `told` says that an event has just told of it.
function indexing.leaf(one, told, now)
  return entry.leaf(one.ns, one.id, told and now or first_seen(one.id, now))
end

local function is_known_leaf(key, one)
  local leaf = entry.of(entry.LEAF, one.ns) .. one.id
  return #redis.call("ZRANGEBYLEX", key, "[" .. leaf .. "\0", "(" .. leaf .. "\1", "LIMIT", 0, 1) > 0
end

-- Adds members to the index at `key`, and notes which of some checkpoints of one thread, each {ns =,
-- id =, parent =}, are leaves.
function indexing.add_with_leaves(key, members, checkpoints, told)
  local parents, now = {}, clock.now_ms()
  for _, one in ipairs(checkpoints) do
    if one.parent ~= "" and one.parent ~= one.id then parents[one.ns .. "\0" .. one.parent] = one end
  end
  for _, one in ipairs(checkpoints) do
    local own = one.ns .. "\0" .. one.id
    if parents[own] then
      parents[own] = nil
    else
      if told or not is_known_leaf(key, one) then
        members[#members + 1] = indexing.leaf(one, told, now)
      end
    end
  end
  indexing.add(key, members)
  for _, child in pairs(parents) do
    local parent = entry.of(entry.LEAF, child.ns) .. child.parent
    redis.call("ZREMRANGEBYLEX", key, "[" .. parent .. "\0", "(" .. parent .. "\1")
  end
end

-- Takes root checkpoints into the index by their names, those that the documents confirm. Answers
-- which: {[id] = true}.
function indexing.add_names(key, thread, ids)
  local proved, parents = layout.proved(thread, ids)
  local members, found, taken = {}, {}, {}
  for _, id in ipairs(ids) do
    if proved[id] == true then
      members[#members + 1] = entry.unread(id)
      found[#found + 1] = { ns = "", id = id, parent = parents[id] }
      taken[id] = true
    elseif proved[id] == "unjudged" then
      members[#members + 1] = entry.of(entry.UNJUDGED, "") .. id
    end
  end
  if #members > 0 then indexing.add_with_leaves(key, members, found, false) end
  return taken
end

return indexing
