-- pins: what somebody has asked to keep, whatever the policy says.
--
-- One hash per thread. A field is {ns} NUL {id}, or "" for the whole thread; its value is the
-- note that was left with it.

--@include include/bytes.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua

local pins = {}

-- Pins that a call reads. More of them retain the whole thread.
local MOST = 2000

local function are_too_many(key)
  return redis.call("HLEN", key) > MOST
end

-- The ids of what a pin names.
local function named(thread, name)
  return layout.listed and layout.named(thread, name) or { name }
end

-- The pins of a thread: {whole_thread = bool, checkpoints = {[ns] = {[id] = true}}}
function pins.read(key, thread)
  local found = { whole_thread = are_too_many(key), checkpoints = {} }
  if found.whole_thread then return found end
  for _, field in ipairs(redis.call("HKEYS", key)) do
    local fields = bytes.split(field)
    local ns, id = fields[1], fields[2]
    if id then
      found.checkpoints[ns] = found.checkpoints[ns] or {}
      for _, pinned in ipairs(named(thread, id)) do found.checkpoints[ns][pinned] = true end
    else
      found.whole_thread = true
    end
  end
  return found
end

local function any_exists(thread, checkpoints)
  for ns, ids in pairs(checkpoints) do
    for id in pairs(ids) do
      if layout.exists(thread, ns, id) then return true end
    end
  end
  return false
end

-- Whether only its pins are left of a thread: its index knows no checkpoint, its latest pointer
-- names none that exists, and nothing that is pinned exists.
function pins.outlive(index_key, pins_key, thread)
  if index.has_checkpoints(index.view(index_key, thread)) then return false end
  local latest = layout.latest(thread, "")
  if latest and layout.exists(thread, "", latest) then return false end
  if are_too_many(pins_key) then return false end
  return not any_exists(thread, pins.read(pins_key, thread).checkpoints)
end

return pins
