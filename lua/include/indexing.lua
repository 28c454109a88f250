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

-- Adds root checkpoints of which only the names are known.
function indexing.add_names(key, ids)
  local members = {}
  for at = 1, #ids do
    members[at] = entry.unread(ids[at])
  end
  indexing.add(key, members)
end

return indexing
