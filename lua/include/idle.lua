-- idle: lets an index say since when its thread has been idle.

--@include include/clock.lua
--@include include/entry.lua

local idle = {}

-- `decided` is what include/decisions.lua has answered; `add` and `forget` take an index entry.
function idle.note(decided, add, forget)
  local known = decided.idle_entry
  if known and not decided.is_idle then forget(known) end
  if decided.is_idle and not decided.is_expired and not known then
    add(entry.idle(clock.now_ms()))
  end
end

return idle
