-- bytes: text compared as Redis compares it, byte by byte.
--
-- Lua's own `<` follows the locale of the server's machine, the order of a sorted set does not.
-- Two checkpoint ids must never be ordered differently by the index and by the script.

local bytes = {}

local byte = string.byte

-- Four at a time: two ids of one day begin alike. Past the end of a text there is none.
function bytes.less(a, b)
  for at = 1, math.min(#a, #b), 4 do
    local a1, a2, a3, a4 = byte(a, at, at + 3)
    local b1, b2, b3, b4 = byte(b, at, at + 3)
    if a1 ~= b1 then return a1 < b1 end
    if a2 ~= b2 then return (a2 or -1) < (b2 or -1) end
    if a3 ~= b3 then return (a3 or -1) < (b3 or -1) end
    if a4 ~= b4 then return (a4 or -1) < (b4 or -1) end
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
