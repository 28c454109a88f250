-- msgpack: finds values in msgpack that is base64, and passes over all else, whatever its type.
--
-- What is decoded is decoded as far as it is read: of a checkpoint most often the beginning.

local msgpack = {}

-- Characters that are decoded first; then as many again, and so on.
local FIRST = 256
-- By the first byte of a value: what it is, the bytes of its length or number, and bytes beside.
local KINDS = {
  [0xc0] = { "nil", 0, 0 }, [0xc2] = { "false", 0, 0 }, [0xc3] = { "true", 0, 0 },
  [0xc4] = { "bytes", 1, 0 }, [0xc5] = { "bytes", 2, 0 }, [0xc6] = { "bytes", 4, 0 },
  [0xc7] = { "bytes", 1, 1 }, [0xc8] = { "bytes", 2, 1 }, [0xc9] = { "bytes", 4, 1 },
  [0xca] = { "other", 0, 4 }, [0xcb] = { "other", 0, 8 },
  [0xcc] = { "number", 1, 0 }, [0xcd] = { "number", 2, 0 }, [0xce] = { "number", 4, 0 },
  [0xcf] = { "number", 8, 0 },
  [0xd0] = { "signed", 1, 0 }, [0xd1] = { "signed", 2, 0 }, [0xd2] = { "signed", 4, 0 },
  [0xd3] = { "signed", 8, 0 },
  [0xd4] = { "other", 0, 2 }, [0xd5] = { "other", 0, 3 }, [0xd6] = { "other", 0, 5 },
  [0xd7] = { "other", 0, 9 }, [0xd8] = { "other", 0, 17 },
  [0xd9] = { "text", 1, 0 }, [0xda] = { "text", 2, 0 }, [0xdb] = { "text", 4, 0 },
  [0xdc] = { "array", 2, 0 }, [0xdd] = { "array", 4, 0 },
  [0xde] = { "map", 2, 0 }, [0xdf] = { "map", 4, 0 },
}
local LARGEST_EXACT = 2 ^ 53

local byte, char, floor, sub = string.byte, string.char, math.floor, string.sub

local SIX_BITS = { [byte("=")] = 0 }
for at = 1, 64 do
  SIX_BITS[byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", at)] = at - 1
end

-- The bytes of whole groups of four characters; an error where they are none of base64.
function msgpack.decoded(text)
  local parts, count, six_bits = {}, 0, SIX_BITS
  for at = 1, #text, 4 do
    local a, b, c, d = byte(text, at, at + 3)
    b, c = six_bits[b], six_bits[c]
    count = count + 1
    parts[count] = char(six_bits[a] * 4 + floor(b / 16), b % 16 * 16 + floor(c / 4),
      c % 4 * 64 + six_bits[d])
  end
  local padding = #string.match(text, "=*$")
  return sub(table.concat(parts), 1, -1 - padding)
end

-- A reader of a text in base64. Its functions raise an error where that cannot be read. Positions
-- are those of the first byte of a value, 1 that of the whole.
function msgpack.reader(text)
  local self, data, next_group, size = {}, "", 1, FIRST

  local function need(count)
    while #data < count do
      if next_group > #text then error("the end is missing") end
      data = data .. msgpack.decoded(sub(text, next_group, next_group + size - 1))
      next_group, size = next_group + size, size * 2
    end
  end

  local function number(at, size_of_it)
    if at + size_of_it - 1 > #data then need(at + size_of_it - 1) end
    if size_of_it == 1 then return byte(data, at) end
    local value = 0
    for place = at, at + size_of_it - 1 do value = value * 256 + byte(data, place) end
    return value
  end

  -- What a value is; its number, length or count; and where its content begins.
  local function head(at)
    local first = number(at, 1)
    if first < 0x80 then return "number", first, at + 1 end
    if first < 0x90 then return "map", first - 0x80, at + 1 end
    if first < 0xa0 then return "array", first - 0x90, at + 1 end
    if first < 0xc0 then return "text", first - 0xa0, at + 1 end
    if first >= 0xe0 then return "number", first - 0x100, at + 1 end
    local kind = KINDS[first]
    local its, past = number(at + 1, kind[2]), at + 1 + kind[2] + kind[3]
    if kind[1] ~= "signed" then return kind[1], its, past end
    local beyond = 256 ^ kind[2]
    return "number", its < beyond / 2 and its or its - beyond, past
  end

  -- Where what follows a value begins.
  local function next_after(at)
    local left = 1
    while left > 0 do
      local kind, count, content = head(at)
      left, at = left - 1, content
      if kind == "text" or kind == "bytes" then at = content + count
      elseif kind == "array" then left = left + count
      elseif kind == "map" then left = left + 2 * count end
    end
    return at
  end

  -- A text, or a whole number as a number; nil for anything else.
  function self.value(at)
    local kind, count, content = head(at)
    if kind == "number" and math.abs(count) < LARGEST_EXACT then return count end
    if kind ~= "text" then return nil end
    need(content + count - 1)
    return sub(data, content, content + count - 1)
  end

  -- Calls `visit(name, position)` for each entry of a map, until it answers true. False when there
  -- is no map.
  function self.each(at, visit)
    local kind, count, content = head(at)
    if kind ~= "map" then return false end
    for _ = 1, count do
      local its = next_after(content)
      local name = self.value(content)
      if name == nil then error("a name is no text") end
      if visit(name, its) then return true end
      content = next_after(its)
    end
    return true
  end

  -- Where a value in maps is, by the names that lead to it; nil where there is none.
  function self.find(at, ...)
    for _, name in ipairs({ ... }) do
      local found
      self.each(at, function(its_name, its)
        if its_name == name then found = its end
        return found ~= nil
      end)
      if not found then return nil end
      at = found
    end
    return at
  end

  return self
end

return msgpack
