-- Reads checkpoint documents and says what their index entries would be. Writes nothing: a plan
-- of a thread that is not indexed is made from these.
--
-- KEYS     any     checkpoint documents
--
-- ARGV[1], ARGV[2]  what layout.use takes (layouts/README.md)
-- ARGV[3]  the only thread whose documents are read, "" for any
-- then     how many write documents the caller has seen for each of KEYS, or nothing at all
--
-- Reply    {{status…}, {leaf, parent, member…}…}
--          status: one for each of KEYS (include/indexing.lua); then, for each checkpoint:
--          leaf: its entry as a leaf, which it is when none has it as its parent; "" where it
--          cannot be one
--          parent: what its parent's entry as a leaf begins with, "" without a parent
--          member: its other entries (include/entry.lua)
--
-- It touches no other keys, but for the registries of checkpoints for which writes were seen.

--@include layouts/${layout}.lua
--@include include/clock.lua
--@include include/entry.lua
--@include include/indexing.lua

local only, FIRST_COUNT = ARGV[3], 4
layout.use(ARGV[1], ARGV[2])

local statuses, now = {}, clock.now_ms()
local reply = { statuses }

local function row(header)
  local ns, parent = header.ns, ""
  if header.parent ~= "" then parent = entry.of(entry.LEAF, ns) .. header.parent .. "\0" end
  local leaf = header.root and "" or entry.leaf(ns, header.id, now)
  return { leaf, parent, unpack(entry.members(header)) }
end

for at, key in ipairs(KEYS) do
  local writes_seen = tonumber(ARGV[FIRST_COUNT + at - 1] or 0)
  local status, header = indexing.read(key, only, writes_seen)
  statuses[at] = status
  if header then reply[#reply + 1] = row(header) end
end
return reply
