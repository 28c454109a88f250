-- saver_keys: the names of the saver's keys, and how they can be read.
--
-- Threads, namespaces and ids may contain colons, so most names can be read in several ways; what
-- a document says decides. The root namespace stands as `__empty__`; above this file it is "".

--@include include/bytes.lua
--@include include/clock.lua

local saver_keys = {}

local ROOT = "__empty__"
local LATEST, REGISTRY, SHALLOW_REGISTRY = "_latest:", "write_keys_zset", "write_registry"
-- The length of a UUID, and of how many colons in a name the readings are told apart.
local LONGEST_TIMED_ID, MOST_READINGS = 36, 64
local HEX4 = "%x%x%x%x"
local TASK_ID = ":" .. HEX4 .. HEX4 .. "%-" .. HEX4 .. "%-" .. HEX4 .. "%-" .. HEX4 .. "%-"
  .. HEX4 .. HEX4 .. HEX4 .. "$"

local find, sub, starts = string.find, string.sub, bytes.starts

local checkpoint_prefix, write_prefix

function saver_keys.use(checkpoint, write)
  checkpoint_prefix, write_prefix = checkpoint, write
end

local function stored_ns(ns)
  return ns == "" and ROOT or ns
end

function saver_keys.read_ns(stored)
  return stored == ROOT and "" or stored
end

function saver_keys.suffix(thread, ns, id)
  return ":" .. thread .. ":" .. stored_ns(ns) .. ":" .. id
end

function saver_keys.split_suffix(suffix)
  return string.match(suffix, "^(.*):([^:]*)$")
end

function saver_keys.key_starts(thread, ns)
  local place = ":" .. thread .. ":" .. stored_ns(ns) .. ":"
  return {
    checkpoint = checkpoint_prefix .. place,
    registry = REGISTRY .. place,
    -- The id is followed by a colon, the task and the number of the write.
    write = write_prefix .. place,
  }
end

function saver_keys.bare_key_starts()
  return { checkpoint = checkpoint_prefix, registry = REGISTRY, write = write_prefix }
end

function saver_keys.checkpoint_key(thread, ns, id)
  return checkpoint_prefix .. saver_keys.suffix(thread, ns, id)
end

function saver_keys.latest_key(thread, ns)
  return checkpoint_prefix .. LATEST .. thread .. ":" .. stored_ns(ns)
end

function saver_keys.registry_key(thread, ns, id)
  return REGISTRY .. saver_keys.suffix(thread, ns, id)
end

-- The place, ":{thread}:{ns}", of a pointer.
function saver_keys.pointer_place(pointer)
  return ":" .. sub(pointer, #checkpoint_prefix + #LATEST + 1)
end

-- The keys that only a shallow saver has at a place.
function saver_keys.shallow_keys(place)
  return checkpoint_prefix .. place, SHALLOW_REGISTRY .. place .. ":shallow"
end

function saver_keys.families(key)
  local found = {}
  if starts(key, checkpoint_prefix .. ":") then
    found[#found + 1] = { "checkpoint", sub(key, #checkpoint_prefix + 1) }
  end
  if starts(key, write_prefix .. ":") then
    -- A task and a number follow, which have no colons.
    local suffix = string.match(key, "^(:.*):[^:]*:[^:]*$", #write_prefix + 1)
    if suffix then found[#found + 1] = { "write", suffix } end
  end
  if starts(key, REGISTRY .. ":") then
    found[#found + 1] = { "registry", sub(key, #REGISTRY + 1) }
  end
  if starts(key, checkpoint_prefix .. LATEST) then
    found[#found + 1] = { "latest", saver_keys.pointer_place(key) }
  end
  return found
end

function saver_keys.has_task_id(ns)
  if ns == "" then return false end
  for segment in string.gmatch(ns, "[^|]+") do
    if find(segment, TASK_ID) then return true end
  end
  return false
end

-- No other namespace ends like the root's.
function saver_keys.root_of_key(key)
  local start, mark = #checkpoint_prefix + 1, ":" .. ROOT .. ":"
  if not starts(key, checkpoint_prefix .. ":") then return nil end
  local rest = sub(key, start + 1)
  local id = string.match(sub(rest, -LONGEST_TIMED_ID - 1), ":([^:]+)$")
  if not id or not clock.of_id(id) then return nil end
  local past = #rest - #id - #mark
  if past < 0 or sub(rest, past + 1, past + #mark) ~= mark then return nil end
  return sub(rest, 1, past), id
end

-- Calls `visit(left, right)` for each colon of a text, until it answers true. Answers whether it
-- did, and false where there are too many of them.
local function each_split(text, visit)
  local colons, at = 0, find(text, ":", 1, true)
  while at do
    colons = colons + 1
    if colons > MOST_READINGS then return false, false end
    if visit(sub(text, 1, at - 1), sub(text, at + 1)) then return true, true end
    at = find(text, ":", at + 1, true)
  end
  return false, true
end

function saver_keys.each_thread_of(key, visit)
  if not starts(key, checkpoint_prefix .. ":") then return false end
  return (each_split(sub(key, #checkpoint_prefix + 2), visit))
end

function saver_keys.each_namespace_of(rest, visit)
  return (each_split(rest, function(ns, id) return visit(saver_keys.read_ns(ns), id) end))
end

function saver_keys.each_reading(place, visit)
  if sub(place, -#ROOT - 1) == ":" .. ROOT then
    visit(sub(place, 2, -#ROOT - 2), "")
    return true
  end
  local _, all = each_split(sub(place, 2), visit)
  return all
end

return saver_keys
