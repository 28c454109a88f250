-- shallow_saver: what a saver leaves that keeps one checkpoint of each namespace
-- (`ShallowRedisSaver`).
--
--   {checkpoint}:{thread}:{ns}               JSON  the checkpoint; the root namespace is empty here
--   {write}:{thread}:{ns}:{id}:{task}:{idx}  JSON  one pending write, of any checkpoint it ever had
--   write_registry:{thread}:{ns}:shallow     zset  names of all these write keys
--
-- It replaces its checkpoint, and deletes neither the writes of those before nor the namespaces of
-- invocations that are over.

--@include include/bytes.lua
--@include layouts/langgraph/json_documents.lua

local shallow_saver = {}

local ROOT, REGISTRY, PAST = "__empty__", "write_registry", ":shallow"
local STATED = { "$.thread_id", "$.checkpoint_ns", "$.checkpoint_id", "$.metadata.parents" }

local quietly, read = json_documents.quietly, json_documents.read

-- What it leaves, by the names of the keys of a layout.
function shallow_saver.new(keys)
  local self = {}

  local function registry_of(thread, ns)
    return REGISTRY .. ":" .. thread .. ":" .. (ns == "" and ROOT or ns) .. PAST
  end

  -- Both ways in which the root namespace has stood in the name of a document.
  local function documents_of(thread, ns)
    local start = keys.bare_key_starts().checkpoint .. ":" .. thread .. ":"
    if ns == "" then return { start, start .. ROOT } end
    return { start .. ns }
  end

  -- The checkpoint at a key: its thread, namespace, id, and the root checkpoint that has started
  -- its invocation. Nil when it is none of such a saver's.
  local function read_checkpoint(key)
    local values = read(key, STATED)
    if not values then return nil end
    local thread, ns, id, parents = values[1], values[2], values[3], values[4]
    if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return nil end
    if ns == ROOT then ns = "" end
    for _, document in ipairs(documents_of(thread, ns)) do
      if document == key then return thread, ns, id, type(parents) == "table" and parents[""] end
    end
    return nil
  end

  -- The id of the one checkpoint of a namespace, nil without one.
  local function newest(thread, ns)
    local found
    for _, document in ipairs(documents_of(thread, ns)) do
      local _, _, id = read_checkpoint(document)
      if id and (not found or bytes.less(found, id)) then found = id end
    end
    return found
  end

  function self.has_shallow_saver(place)
    local document = keys.bare_key_starts().checkpoint .. place
    return redis.call("EXISTS", document, REGISTRY .. place .. PAST) > 0
  end

  function self.is_replaced(thread, ns, id)
    local its = newest(thread, ns)
    return its == nil or bytes.less(id, its)
  end

  function self.finished(key, limit)
    local thread, ns, _, root = read_checkpoint(key)
    if not thread or not keys.has_task_id(ns) or type(root) ~= "string" then return nil end
    local latest_root = newest(thread, "")
    if not latest_root or not bytes.less(root, latest_root) then return nil end
    local registry, own = registry_of(thread, ns), {}
    local start = keys.key_starts(thread, ns).write
    for _, name in ipairs(quietly("ZRANGE", registry, 0, limit - 1) or {}) do
      if bytes.starts(name, start) then own[#own + 1] = name end
    end
    return thread, own, registry
  end

  function self.deregister(thread, ns, writes)
    for _, write in ipairs(writes) do
      quietly("ZREM", registry_of(thread, ns), write)
    end
  end

  return self
end

return shallow_saver
