-- counting: how many keys a thread has, as far as its index knows.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local counting = {}

-- Threads with more root checkpoints are not counted: that would take too long.
local MOST = 200

-- The keys of the root checkpoints whose documents have been read: documents, registries, and the
-- writes that these name. 0 when there are too many.
function counting.root_keys(key, thread)
  local prefix, starts = entry.of(entry.INDEPENDENT, ""), layout.key_starts(thread, "")
  local members = index.stored(key).up("[" .. prefix, index.past(prefix), MOST + 1)
  if #members > MOST then return 0 end
  local keys, last = 0, nil
  for _, member in ipairs(members) do
    local id = entry.id(member, prefix)
    if id ~= last and not entry.is_unread(member) then
      local writes = layout.registered(starts, id)
      keys = keys + 1 + (writes > 0 and writes + 1 or 0)
    end
    last = id
  end
  return keys
end

return counting
