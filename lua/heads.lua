-- Reads checkpoint documents and says what their index entries would be. Writes nothing: a plan
-- of a thread that is not indexed is made from these.
--
-- KEYS     JSON    checkpoint documents
--
-- ARGV[1]  the saver's checkpoint prefix
-- ARGV[2]  the saver's write prefix
-- ARGV[3]  the only thread to take, "" for any
-- then     how many write documents the caller has seen for each of KEYS, or nothing at all
--
-- Reply    {letters, {leaf, parent, member…}…}
--          letters: one for each of KEYS (include/indexing.lua); then, for each that is r or u,
--          its entry as a leaf, which it is when none has it as its parent, "" where it cannot be
--          one; what its parent's entry as a leaf begins with; and its other entries
--          (include/entry.lua)

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/indexing.lua

layout.use(ARGV[1], ARGV[2])
local letters, reply, now = {}, { "" }, clock.now_ms()

local function row(head)
  local parent = head.parent ~= "" and entry.of(entry.LEAF, head.ns) .. head.parent .. "\0" or ""
  local leaf = head.root and "" or indexing.leaf(head, false, now)
  return { leaf, parent, unpack(entry.members(head)) }
end

for at, key in ipairs(KEYS) do
  local letter, head = indexing.read(key, ARGV[3], tonumber(ARGV[3 + at] or 0))
  letters[at] = letter
  if head then reply[#reply + 1] = row(head) end
end
reply[1] = table.concat(letters)
return reply
