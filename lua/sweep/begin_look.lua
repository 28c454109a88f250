-- Says which mark the indexes of some threads have that shared keys may be left, and sets one where
-- there is none. Whatever deletes a checkpoint sets another mark, so that sweep/shared_keys.lua can
-- tell whether that has happened since.
--
-- KEYS     zset    indexes of threads (include/entry.lua)
--
-- ARGV     none
--
-- Reply    {{mark, 1 if it has just been set, else 0}…}, one for each of KEYS; {} for one that is
--          something else
--
-- It touches no other keys.

--@include include/marks.lua

local reply = {}
for at, key in ipairs(KEYS) do
  local fine, mark, is_new = pcall(marks.begin_look, key)
  reply[at] = fine and { mark, is_new and 1 or 0 } or {}
end
return reply
