-- glob: patterns for thread ids, as for KEYS: *, ?, [a-z], [^a-z], a backslash before any of these.
--
-- Ids are chosen by strangers, so a match never backtracks: between two stars the leftmost place
-- counts, which is always right. The steps are at most the id's length times the pattern's.

local glob = {}

local STAR, ONE, OPEN, NOT, DASH, ESCAPE = string.byte("*?[^-\\", 1, 6)
local byte, find, sub = string.byte, string.find, string.sub

local function any() return true end

-- What a set allows that begins behind `at`, and where it ends; nil when it does not end.
local function read_set(pattern, at)
  local past = find(pattern, "]", at + 1, true)
  if not past then return nil end
  local from, members = at + 1, {}
  local negated = byte(pattern, from) == NOT
  if negated then from = from + 1 end
  while from < past do
    local first, last = byte(pattern, from), byte(pattern, from)
    if from + 2 < past and byte(pattern, from + 1) == DASH then
      last, from = byte(pattern, from + 2), from + 2
    end
    for member = first, last do members[member] = true end
    from = from + 1
  end
  return function(one) return (members[one] or false) ~= negated end, past
end

-- What one byte of an id may be, as a byte or a test, and where that ends in the pattern.
local function read_part(pattern, at)
  local here = byte(pattern, at)
  if here == ONE then return any, at end
  if here == ESCAPE and at < #pattern then return byte(pattern, at + 1), at + 1 end
  if here == OPEN then
    local allowed, past = read_set(pattern, at)
    if allowed then return allowed, past end
  end
  return here, at
end

-- Adds `text` where all of a segment's parts are bytes: it is found by plain search then.
local function finished(segment)
  for _, part in ipairs(segment) do
    if type(part) ~= "number" then return segment end
  end
  segment.text = string.char(unpack(segment))
  return segment
end

-- What stands between the stars of a pattern, before the first and behind the last.
function glob.parse(pattern)
  local segments, at = { {} }, 1
  while at <= #pattern do
    if byte(pattern, at) == STAR then
      segments[#segments + 1] = {}
    else
      local segment = segments[#segments]
      segment[#segment + 1], at = read_part(pattern, at)
    end
    at = at + 1
  end
  for _, segment in ipairs(segments) do finished(segment) end
  return segments
end

local function is_at(segment, text, at)
  if segment.text then return sub(text, at, at + #segment - 1) == segment.text end
  for offset = 1, #segment do
    local part, one = segment[offset], byte(text, at + offset - 1)
    if type(part) == "number" and part ~= one or type(part) ~= "number" and not part(one) then
      return false
    end
  end
  return true
end

-- The first place from `at` on where a segment stands that ends before `past`, or nil.
local function find_segment(segment, text, at, past)
  if segment.text then
    local found = find(text, segment.text, at, true)
    return found and found + #segment <= past and found or nil
  end
  for place = at, past - #segment do
    if is_at(segment, text, place) then return place end
  end
  return nil
end

-- Whether all of a text is as the segments of a pattern say.
function glob.matches(segments, text)
  local first, last = segments[1], segments[#segments]
  if #segments == 1 then return #text == #first and is_at(first, text, 1) end
  local at, past = #first + 1, #text - #last + 1
  if past < at or not is_at(first, text, 1) or not is_at(last, text, past) then return false end
  for number = 2, #segments - 1 do
    local found = find_segment(segments[number], text, at, past)
    if not found then return false end
    at = found + #segments[number]
  end
  return true
end

return glob
