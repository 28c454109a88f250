-- pins: what somebody has asked to keep, whatever the policy says.
--
-- One hash per thread. A field is {ns} NUL {id}, or "" for the whole thread; its value is the
-- note that was left with it.

local pins = {}

-- {all = true when the whole thread is pinned, [ns] = {[id] = true}}
function pins.read(key)
  local found = {}
  for _, field in ipairs(redis.call("HKEYS", key)) do
    local fields = bytes.split(field)
    local ns, id = fields[1], fields[2]
    if id then
      found[ns] = found[ns] or {}
      found[ns][id] = true
    else
      found.all = true
    end
  end
  return found
end

local function is_real(thread, ns, id)
  return layout.real(thread, ns, { id })[id]
end

-- Whether a thread is gone and only its pins are left: its index knows no checkpoint, its latest
-- pointer names none that exists, and nothing that is pinned exists.
function pins.outlive(index_key, pins_key, thread)
  local view = index.stored(index_key)
  for _, kind in ipairs({ entry.STANDING, entry.TASK, entry.UNJUDGED }) do
    if index.first(view, kind) then return false end
  end
  local latest = layout.latest(thread, "")
  if latest and is_real(thread, "", latest) then return false end
  for ns, ids in pairs(pins.read(pins_key)) do
    for id in pairs(ids ~= true and ids or {}) do
      if is_real(thread, ns, id) then return false end
    end
  end
  return true
end

return pins
