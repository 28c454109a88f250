-- idle: lets an index say since when its thread has been idle. It says so, too, as long as its
-- root is gone and not all of it.

--@include include/clock.lua
--@include include/entry.lua

local idle = {}

-- `decided` is what include/decisions.lua has answered, `done` whether nothing is left of what it
-- deletes; `add` and `forget` take an index entry.
function idle.note(decided, done, add, forget)
  local known = decided.idle_entry
  if known and not decided.is_idle then forget(known) end
  if decided.is_idle and not (decided.is_expired and done) and not known then
    add(entry.idle(clock.now_ms()))
  end
end

return idle
