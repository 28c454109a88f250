-- Takes root checkpoints of one thread into its index by their names alone: what is about to go
-- need not be read. Until a document is read, its entry says so, and a trim takes it for nothing
-- that it has not proved.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), added to
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  how much is known of them
--          "names"  nothing but their names: all are taken
--          "seen"   how many write documents there are of each: those are taken whose documents say
--                   that they are of this thread, and nothing that this version does not understand
-- ARGV[5]  how many ids follow
-- then     the ids; for "seen" as many numbers of write documents
--
-- Reply    for "seen" letters, one for each id: "r" and "u" as in include/indexing.lua, "-" where
--          it was not taken; else ""
--
-- Other keys it touches: for "seen" the documents of these checkpoints are read, and registries
-- counted where writes were seen.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/indexing.lua

local FIRST = 6

layout.use(ARGV[2], ARGV[3])

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

local past = FIRST + tonumber(ARGV[5])
local ids = { unpack(ARGV, FIRST, past - 1) }
if ARGV[4] == "seen" then
  return take_seen(KEYS[1], ARGV[1], ids, { unpack(ARGV, past) })
end
indexing.add_names(KEYS[1], ids)
return ""
