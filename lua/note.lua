-- Takes root checkpoints into the indexes of their threads by their names alone: a first sweep need
-- not read what it is about to delete. Until a document is read, its entry says so, and a trim
-- takes it for nothing that it has not proved.
--
-- KEYS     zset    indexes of threads (include/entry.lua), added to
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- then     for each of KEYS: how much is known, how many ids follow, the ids
--          "thread"  that the thread is one: all are taken
--          "name"    nothing: all are taken if one of the documents says that it is of this
--                    thread; another saver's, whose prefix is longer, may have names like it
--          "seen"    as many numbers more say how many write documents of each there are: each
--                    is taken whose own document says that it is of this thread, and nothing that
--                    this version does not understand
--
-- Reply    for each of KEYS: 1 when its ids were taken, else 0; for "seen" letters, one for each
--          id: "r" and "u" as in include/indexing.lua, "-" for what was not taken
--
-- Other keys it touches: documents of these checkpoints are read where there is something to prove,
-- and registries counted where writes were seen.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/indexing.lua

layout.use(ARGV[2], ARGV[3])

local function list(first, count)
  return { unpack(ARGV, first, first + count - 1) }
end

local function any_real(thread, ids)
  for _, real in pairs(layout.real(thread, "", ids)) do
    if real then return true end
  end
  return false
end

local function take_all(key, ids)
  local members = {}
  for at, id in ipairs(ids) do
    members[at] = entry.unread(id)
  end
  indexing.add(key, members)
end

-- Takes what is real; answers the letters.
local function take_seen(key, thread, ids, seen)
  local proved, letters, members = layout.proved(thread, ids), {}, {}
  for at, id in ipairs(ids) do
    letters[at] = "-"
    if proved[id] == true then
      members[#members + 1] = entry.unread(id, true)
      letters[at] = indexing.letter(thread, "", id, tonumber(seen[at]))
    end
  end
  if #members > 0 then indexing.add(key, members) end
  return table.concat(letters)
end

local reply, at = {}, 4
for number, key in ipairs(KEYS) do
  local known, count, thread = ARGV[at], tonumber(ARGV[at + 1]), string.sub(key, #ARGV[1] + 1)
  local ids = list(at + 2, count)
  at = at + 2 + count
  if known == "seen" then
    reply[number] = take_seen(key, thread, ids, list(at, count))
    at = at + count
  elseif known == "thread" or any_real(thread, ids) then
    take_all(key, ids)
    reply[number] = 1
  else
    reply[number] = 0
  end
end
return reply
