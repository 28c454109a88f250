-- bytes: text compared as Redis compares it, byte by byte.
--
-- Lua's own `<` follows the locale of the server's machine, the order of a sorted set does not.
-- Two checkpoint ids must never be ordered differently by the index and by the script.

local bytes = {}

function bytes.less(a, b)
  local length = math.min(#a, #b)
  for at = 1, length do
    local x, y = string.byte(a, at), string.byte(b, at)
    if x ~= y then return x < y end
  end
  return #a < #b
end

function bytes.starts(text, prefix)
  return string.sub(text, 1, #prefix) == prefix
end

-- The fields of a text that are parted by NUL.
function bytes.split(text)
  local fields, from = {}, 1
  while true do
    local at = string.find(text, "\0", from, true)
    if not at then
      fields[#fields + 1] = string.sub(text, from)
      return fields
    end
    fields[#fields + 1] = string.sub(text, from, at - 1)
    from = at + 1
  end
end

return bytes
