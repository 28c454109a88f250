-- views: where the checkpoints of a thread are looked up, and how many there are.

--@include layouts/${layout}.lua
--@include include/index.lua

local views = {}

-- A view (include/index.lua) of a thread, whose index is at `key`.
function views.of(key, thread)
  if layout.listed then return index.positions(key, layout.listed(thread)) end
  return index.stored(key)
end

-- How many checkpoints of a thread are known.
function views.checkpoints(key, thread)
  if layout.listed then return layout.own(thread) end
  return index.checkpoints(key)
end

return views
