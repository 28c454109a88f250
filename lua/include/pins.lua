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

return pins
