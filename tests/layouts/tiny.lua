-- layout: a format of strings and a sorted set, without namespaces, JSON and pointers.
--
--   tiny:{thread}:{id}            string  id of the parent
--   tiny-write:{thread}:{id}:{n}  string  one pending write
--   tiny-writes:{thread}:{id}     zset    names of the checkpoint's writes
--
-- Ids have no colons, so that a name can be read in one way only.

--@include include/bytes.lua
--@include include/clock.lua

local layout = {}

local STARTS = { checkpoint = "tiny", write = "tiny-write", registry = "tiny-writes" }

function layout.use() end

function layout.suffix(thread, _, id) return ":" .. thread .. ":" .. id end

function layout.split_suffix(suffix) return string.match(suffix, "^(.*):([^:]*)$") end

function layout.key_starts(thread)
  local starts = {}
  for family, start in pairs(STARTS) do starts[family] = start .. ":" .. thread .. ":" end
  return starts
end

function layout.bare_key_starts() return STARTS end

function layout.checkpoint_key(thread, ns, id)
  return STARTS.checkpoint .. layout.suffix(thread, ns, id)
end

function layout.registry_key(thread, ns, id)
  return STARTS.registry .. layout.suffix(thread, ns, id)
end

function layout.latest_key() return nil end

function layout.families(key)
  for family, start in pairs(STARTS) do
    if bytes.starts(key, start .. ":") then
      local suffix = string.sub(key, #start + 1)
      if family == "write" then suffix = string.match(suffix, "^(.*):") end
      return { { family, suffix } }
    end
  end
  return {}
end

function layout.has_task_id() return false end

function layout.root_of_key(key)
  return string.match(key, "^" .. STARTS.checkpoint .. ":(.*):([^:]*)$")
end

-- All names are root checkpoints' names.
function layout.each_thread_of() return false end

function layout.each_namespace_of() return false end

function layout.each_reading(place, visit)
  visit(string.sub(place, 2), "")
  return true
end

function layout.parent(thread, ns, id)
  return redis.call("GET", layout.checkpoint_key(thread, ns, id)) or ""
end

function layout.header(key)
  local thread, id = layout.root_of_key(key)
  local parent = thread and redis.call("GET", key)
  if not parent then return nil, "foreign" end
  return { thread = thread, ns = "", id = id, parent = parent, needs = {}, has_task_id = false }
end

function layout.simple_headers(thread, ids)
  local headers = {}
  for _, id in ipairs(ids) do headers[id] = layout.header(layout.checkpoint_key(thread, "", id)) end
  return headers
end

function layout.confirm_roots(thread, ids)
  local confirmed, parents = layout.existing(thread, "", ids), {}
  for _, id in ipairs(ids) do parents[id] = layout.parent(thread, "", id) end
  return confirmed, parents
end

function layout.exists(thread, ns, id)
  return redis.call("EXISTS", layout.checkpoint_key(thread, ns, id)) == 1
end

function layout.existing(thread, ns, ids)
  local exists = {}
  for _, id in ipairs(ids) do exists[id] = layout.exists(thread, ns, id) end
  return exists
end

function layout.all_exist(thread, ns, ids)
  for _, id in ipairs(ids) do
    if not layout.exists(thread, ns, id) then return false end
  end
  return true
end

function layout.has_checkpoint(suffix)
  return redis.call("EXISTS", STARTS.checkpoint .. suffix) == 1
end

function layout.is_stub() return false end

function layout.latest() return nil end

function layout.dangling() return nil end

function layout.locate(thread, ns, id) return "nowhere", layout.parent(thread, ns, id) end

function layout.writes(starts, id, limit)
  local registry = starts.registry .. id
  local names = redis.call("ZRANGE", registry, 0, limit and limit - 1 or -1)
  return names, false, redis.call("ZCARD", registry)
end

function layout.registered(starts, id)
  return redis.call("ZCARD", starts.registry .. id)
end

function layout.owner(key)
  local thread, id = layout.root_of_key(key)
  if not thread or redis.call("EXISTS", key) == 0 then return nil end
  return thread, "", id
end

function layout.write_owner(key)
  local thread, id = string.match(key, "^" .. "tiny%-write:(.*):([^:]*):[^:]*$")
  if not thread then return nil end
  return thread, "", id
end

function layout.registry_owner(suffix) return string.match(suffix, "^:(.*):[^:]*$") end

function layout.has_shallow_saver() return false end

function layout.has_sends() return false end

function layout.waits() return false end

function layout.put_at() return nil end

function layout.description(_, _, id)
  local made = clock.of_id(id)
  return { "", "", made and string.format("%d", made) or "" }
end

return layout
