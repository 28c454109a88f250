-- saver_keys: the names of the keys of a saver of LangGraph, and how they can be read.
--
--   {checkpoint}:{thread}:{ns}:{id}
--   {write}:{thread}:{ns}:{id}:{task}:{idx}
--   write_keys_zset:{thread}:{ns}:{id}
--
-- {checkpoint} and {write} are the saver's prefixes; a format may call the registry otherwise, and
-- have no keys of writes. Threads, namespaces and ids may contain colons, so most names can be read
-- in several ways; what a document says decides. How the root namespace stands in a key differs
-- between savers; above this file it is "".

--@include include/bytes.lua
--@include include/clock.lua

local saver_keys = {}

local REGISTRY = "write_keys_zset"
-- The length of a UUID, and of how many colons in a name the readings are told apart.
local LONGEST_TIMED_ID, MOST_READINGS = 36, 64
local HEX4 = "%x%x%x%x"
local TASK_ID = ":" .. HEX4 .. HEX4 .. "%-" .. HEX4 .. "%-" .. HEX4 .. "%-" .. HEX4 .. "%-"
  .. HEX4 .. HEX4 .. HEX4 .. "$"

local find, sub, starts = string.find, string.sub, bytes.starts

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

-- The names of a saver's keys: answers of a layout (layouts/README.md). `root` is how the root
-- namespace stands in a key. A place that ends with `never`, where it is given, is none of this
-- saver's: that is how another one's root namespace stands there.
function saver_keys.new(root, never)
  local self = {}
  local checkpoint_prefix, write_prefix, registry_prefix
  local root_end, never_end = ":" .. root, never and ":" .. never

  function self.use(checkpoint, write, registry)
    checkpoint_prefix, write_prefix, registry_prefix = checkpoint, write, registry or REGISTRY
  end

  local function stored_ns(ns)
    return ns == "" and root or ns
  end

  local function read_ns(stored)
    return stored == root and "" or stored
  end

  function self.suffix(thread, ns, id)
    return ":" .. thread .. ":" .. stored_ns(ns) .. ":" .. id
  end

  function self.split_suffix(suffix)
    return string.match(suffix, "^(.*):([^:]*)$")
  end

  -- Whether a suffix can be this saver's at all.
  local function can_be_ours(suffix)
    local place = self.split_suffix(suffix)
    return not place or not never_end or sub(place, -#never_end) ~= never_end
  end

  function self.key_starts(thread, ns)
    local place = ":" .. thread .. ":" .. stored_ns(ns) .. ":"
    return {
      checkpoint = checkpoint_prefix .. place,
      registry = registry_prefix .. place,
      -- The id is followed by a colon, the task and the number of the write.
      write = write_prefix and write_prefix .. place,
    }
  end

  function self.bare_key_starts()
    return { checkpoint = checkpoint_prefix, registry = registry_prefix, write = write_prefix }
  end

  function self.checkpoint_key(thread, ns, id)
    return checkpoint_prefix .. self.suffix(thread, ns, id)
  end

  function self.registry_key(thread, ns, id)
    return registry_prefix .. self.suffix(thread, ns, id)
  end

  function self.families(key)
    local found = {}
    local function add(family, suffix)
      if suffix and can_be_ours(suffix) then found[#found + 1] = { family, suffix } end
    end
    if starts(key, checkpoint_prefix .. ":") then
      add("checkpoint", sub(key, #checkpoint_prefix + 1))
    end
    if write_prefix and starts(key, write_prefix .. ":") then
      -- A task and a number follow, which have no colons.
      add("write", string.match(key, "^(:.*):[^:]*:[^:]*$", #write_prefix + 1))
    end
    if starts(key, registry_prefix .. ":") then
      add("registry", sub(key, #registry_prefix + 1))
    end
    return found
  end

  function self.has_task_id(ns)
    if ns == "" then return false end
    for segment in string.gmatch(ns, "[^|]+") do
      if find(segment, TASK_ID) then return true end
    end
    return false
  end

  -- No other namespace ends like the root's.
  function self.root_of_key(key)
    local start, mark = #checkpoint_prefix + 1, root_end .. ":"
    if not starts(key, checkpoint_prefix .. ":") then return nil end
    local rest = sub(key, start + 1)
    local id = string.match(sub(rest, -LONGEST_TIMED_ID - 1), ":([^:]+)$")
    if not id or not clock.of_id(id) then return nil end
    local past = #rest - #id - #mark
    if past < 0 or sub(rest, past + 1, past + #mark) ~= mark then return nil end
    return sub(rest, 1, past), id
  end

  function self.each_thread_of(key, visit)
    if not starts(key, checkpoint_prefix .. ":") then return false end
    return (each_split(sub(key, #checkpoint_prefix + 2), visit))
  end

  function self.each_namespace_of(rest, visit)
    return (each_split(rest, function(ns, id) return visit(read_ns(ns), id) end))
  end

  -- Whether a place can only be a root namespace.
  function self.is_root(place)
    return sub(place, -#root_end) == root_end
  end

  function self.each_reading(place, visit)
    if self.is_root(place) then
      visit(sub(place, 2, -#root_end - 1), "")
      return true
    end
    local _, all = each_split(sub(place, 2), visit)
    return all
  end

  return self
end

return saver_keys
