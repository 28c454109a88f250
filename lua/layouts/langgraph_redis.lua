-- layout: what the keys of langgraph-checkpoint-redis mean (`RedisSaver`, `AsyncRedisSaver`).
--
--   {checkpoint}:{thread}:{ns}:{id}               JSON    one checkpoint
--   {checkpoint}_latest:{thread}:{ns}             string  key of the newest checkpoint
--   {write}:{thread}:{ns}:{id}:{task}:{idx}       JSON    one pending write of one task
--   write_keys_zset:{thread}:{ns}:{id}            zset    names of that checkpoint's write keys
--
-- {checkpoint} and {write} are the saver's prefixes. The root namespace stands as `__empty__`;
-- above this file it is "". Threads, namespaces and ids may contain colons, so a key is never
-- split: the fields of the document say whose it is, and the key built from them must be the key
-- they came from. A shallow saver's document, and one under a longer prefix, fail that test.
--
-- Another storage format is another file with these functions and fields.

local layout = {}

local ROOT = "__empty__"
local LATEST = "_latest:"
local REGISTRY = "write_keys_zset"
local SHALLOW_REGISTRY = "write_registry"
local CHUNK = 500
-- The length of a UUID, and of how many colons in a name the readings are told apart.
local LONGEST_TIMED_ID, MOST_READINGS = 36, 64
local HEX4 = "%x%x%x%x"
local TASK_ID = ":" .. HEX4 .. HEX4 .. "%-" .. HEX4 .. "%-" .. HEX4 .. "%-" .. HEX4 .. "%-"
  .. HEX4 .. HEX4 .. HEX4 .. "$"
-- Some writes have fixed numbers (WRITES_IDX_MAP in langgraph-checkpoint).
local FAILURE, INTERRUPT = ":-1", ":-3"
-- The channel of pending sends, as JSON.GET answers it; of a checkpoint with more writes than so
-- many it is taken for granted that it has some.
local SENDS, MOST_WRITES = '["__pregel_tasks"]', 500
-- Since this format the pending sends of a checkpoint are in its own channel values.
local OWN_SENDS_SINCE = 4

local find, try = string.find, redis.pcall

local HEAD = { "$.thread_id", "$.checkpoint_ns", "$.checkpoint_id", "$.parent_checkpoint_id",
  "$.metadata", "$.source", "$.checkpoint.v", "$.step" }
local DESCRIPTION = { "$.source", "$.step", "$.checkpoint_ts" }
local COUNTERS = "counters_since_delta_snapshot"
local PROOF = '$["thread_id","parent_checkpoint_id","metadata"]'
local OUTLINE = '$["thread_id","parent_checkpoint_id","metadata","source","step"]'
local OWNER = { "$.thread_id", "$.checkpoint_ns", "$.checkpoint_id" }

local checkpoint_prefix, write_prefix

-- What the names of each family of keys begin with.
layout.starts = {}

function layout.use(checkpoint, write)
  checkpoint_prefix, write_prefix = checkpoint, write
  layout.starts = {
    document = checkpoint .. ":",
    latest = checkpoint .. LATEST,
    write = write .. ":",
    registry = REGISTRY .. ":",
  }
end

local function stored_ns(ns)
  return ns == "" and ROOT or ns
end

-- What all keys of one checkpoint have in common.
function layout.suffix(thread, ns, id)
  return ":" .. thread .. ":" .. stored_ns(ns) .. ":" .. id
end

-- What the keys of a namespace's checkpoints begin with; the id follows.
function layout.names(thread, ns)
  local place = ":" .. thread .. ":" .. stored_ns(ns) .. ":"
  return {
    document = checkpoint_prefix .. place,
    registry = REGISTRY .. place,
    -- The id is followed by a colon, the task and the number of the write.
    write = write_prefix .. place,
  }
end

-- The same for names of which only what they have in common is known: the suffix follows.
function layout.bare_names()
  return { document = checkpoint_prefix, registry = REGISTRY, write = write_prefix }
end

function layout.checkpoint_key(thread, ns, id)
  return checkpoint_prefix .. layout.suffix(thread, ns, id)
end

function layout.latest_key(thread, ns)
  return checkpoint_prefix .. LATEST .. thread .. ":" .. stored_ns(ns)
end

function layout.registry_key(thread, ns, id)
  return REGISTRY .. layout.suffix(thread, ns, id)
end

-- A call that answers nil where the key is missing or holds something of another type.
local function quietly(...)
  local reply = redis.pcall(...)
  if type(reply) ~= "table" or not reply.err then return reply or nil end
  if string.find(reply.err, "[Ww][Rr][Oo][Nn][Gg]") then return nil end
  error(reply)
end

local function decoded(text)
  local fine, value = pcall(cjson.decode, text)
  if fine and type(value) == "table" then return value end
  return nil
end

-- The values at `paths`, nil when there is no document. For one path alone JSON.GET answers
-- without its name.
local function read(key, paths)
  local text = quietly("JSON.GET", key, unpack(paths))
  local found = text and decoded(text)
  if not found then return nil end
  if #paths == 1 then return { found[1] } end
  local values = {}
  for at = 1, #paths do
    local matches = found[paths[at]]
    values[at] = type(matches) == "table" and matches[1] or nil
  end
  return values
end

-- Whether the namespace belongs to one invocation: one of its segments carries a task id.
function layout.of_task(ns)
  if ns == "" then return false end
  for segment in string.gmatch(ns, "[^|]+") do
    if string.find(segment, TASK_ID) then return true end
  end
  return false
end

local function keys_of(key, path)
  local reply = quietly("JSON.OBJKEYS", key, path)
  local names, any = {}, false
  for _, name in ipairs(type(reply) == "table" and reply[1] or {}) do
    names[name], any = true, true
  end
  return names, any
end

-- What is known of the values of a checkpoint's channels.
local function channels_at(key)
  local here = keys_of(key, "$.checkpoint.channel_values")
  local versions, any_version = keys_of(key, "$.checkpoint.channel_versions")
  return {
    here = here,
    -- LangGraph gives a channel a version with the first write: without one there is nothing
    -- to look for. A document without any version says nothing about it.
    unwritten = function(name) return any_version and not versions[name] end,
  }
end

-- Sorted, so that the same document always gives the same entry.
local function delta_needs(counters, channels)
  local needs = {}
  for name in pairs(counters) do
    if not channels.unwritten(name) then
      needs[#needs + 1] = (channels.here[name] and "+" or "-") .. name
    end
  end
  table.sort(needs)
  return needs
end

-- The parts of the metadata that decide; nil when the metadata cannot be read.
local function judged_metadata(text, task)
  local delta = find(text, COUNTERS, 1, true)
  if not delta and not task then return {} end
  local metadata = decoded(text)
  if not metadata then return nil end
  local parents = task and type(metadata.parents) == "table" and metadata.parents or {}
  local counters = metadata.counters_since_delta_snapshot
  return {
    root = type(parents[""]) == "string" and parents[""] ~= "" and parents[""] or nil,
    counters = delta and type(counters) == "table" and counters or nil,
  }
end

-- NUL parts the fields of an index entry.
local function has_nul(text)
  return text ~= nil and find(text, "\0", 1, true) ~= nil
end

local function judge(head, key, metadata_text, version)
  local metadata = type(metadata_text) == "string" and judged_metadata(metadata_text, head.task)
  if not metadata or has_nul(head.ns) or has_nul(head.id) or has_nul(head.parent)
    or has_nul(metadata.root) then
    head.unjudged = true
    return head
  end
  head.root = metadata.root
  if head.root or head.parent == "" then return head end
  if metadata.counters then head.needs = delta_needs(metadata.counters, channels_at(key)) end
  if (tonumber(version) or 0) < OWN_SENDS_SINCE then table.insert(head.needs, 1, "v") end
  for _, need in ipairs(head.needs) do
    if has_nul(need) then head.unjudged = true end
  end
  return head
end

-- The steps of root checkpoints that have been read, by key: most are read in their order, and each
-- asks for the one before.
local steps = {}

-- The step of a root checkpoint, false when it does not say, nil when there is none.
local function step_of(key)
  if steps[key] ~= nil then return steps[key] end
  local values = read(key, { "$.checkpoint_id", "$.step" })
  if values and values[1] then return values[2] or false end
  return nil
end

-- Whether a run of the graph begins with this root checkpoint: with an input, with a replay, and
-- with what is left of a run whose beginning is gone. With durability "exit" a run has one
-- checkpoint only, whose step is more than one above its parent's.
local function begins_run(head, key, source, step)
  if head.ns ~= "" then return false end
  steps[key] = step or false
  if source == "input" or source == "fork" then return true end
  if head.parent == "" then return false end
  local its = step_of(layout.checkpoint_key(head.thread, "", head.parent))
  if its == nil then return true end
  return type(step) == "number" and type(its) == "number" and step > its + 1
end

-- What the document at `key` says of itself, or nil and why it is none of ours:
--   {thread =, ns =, id =, parent = "" or id, needs = {chain items}, begins_run = bool,
--    task = whether the namespace has a task id in its name,
--    root = the root checkpoint that the invocation belongs to, nil when it does not say,
--    unjudged = true when it says something that this version does not understand}
-- "partial": a write has come before its checkpoint (or after its end), there are no fields yet.
-- "foreign": another saver's document, or no document at all.
function layout.head(key)
  local values = read(key, HEAD)
  if not values then return nil, "foreign" end
  local thread, ns, id = values[1], values[2], values[3]
  if thread == nil and ns == nil and id == nil then return nil, "partial" end
  if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then
    return nil, "foreign"
  end
  if ns == ROOT then ns = "" end
  if layout.checkpoint_key(thread, ns, id) ~= key then return nil, "foreign" end
  local parent = type(values[4]) == "string" and values[4] or ""
  local head = { thread = thread, ns = ns, id = id, parent = parent, needs = {},
    task = layout.of_task(ns) }
  judge(head, key, values[5], values[7])
  head.begins_run = begins_run(head, key, values[6], values[8])
  return head
end

-- What a person would want to know of a checkpoint, as texts: its source, its step, and the
-- milliseconds at which it was made. "" where it does not say.
function layout.description(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), DESCRIPTION) or {}
  local made = clock.of_id(id) or tonumber(values[3])
  return { tostring(values[1] or ""), tostring(values[2] or ""),
    made and string.format("%d", made) or "" }
end

-- The milliseconds at which the saver says that it has put a checkpoint, nil if it does not.
-- (Beside a ULID it notes seconds; but there the id says it.)
function layout.put_at(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), { "$.checkpoint_ts" })
  return values and tonumber(values[1])
end

-- Whether `reply` of JSON.MGET names the thread; a stub names none. An embedded server answers
-- without the brackets.
local function names_thread(reply, thread)
  if type(reply) ~= "string" then return false end
  local found = decoded(reply) or decoded("[" .. reply .. "]")
  return found ~= nil and found[1] == thread
end

-- Calls `visit(id, reply)` with what JSON.MGET says of each checkpoint.
local function each_reply(thread, ns, ids, path, visit)
  local start = layout.names(thread, ns).document
  for first = 1, #ids, CHUNK do
    local last = math.min(first + CHUNK - 1, #ids)
    local call = { "JSON.MGET" }
    for at = first, last do
      call[#call + 1] = start .. ids[at]
    end
    call[#call + 1] = path
    for at, reply in ipairs(redis.call(unpack(call))) do
      visit(ids[first + at - 1], reply)
    end
  end
end

-- For each id whether its checkpoint exists at this moment, as more than a stub and as one of
-- this thread.
function layout.real(thread, ns, ids)
  local is_real, usual = {}, '["' .. thread .. '"]'
  each_reply(thread, ns, ids, "$.thread_id", function(id, reply)
    is_real[id] = reply == usual or names_thread(reply, thread)
  end)
  return is_real
end

-- Whether all of some checkpoints have documents, which may be stubs.
function layout.all_exist(thread, ns, ids)
  local start, existing = layout.names(thread, ns).document, 0
  for first = 1, #ids, CHUNK do
    local keys, last = {}, math.min(first + CHUNK - 1, #ids)
    for at = first, last do keys[#keys + 1] = start .. ids[at] end
    existing = existing + redis.call("EXISTS", unpack(keys))
  end
  return existing == #ids
end

-- For root checkpoints of which only the names are known, what `layout.real` says, and their
-- parents; "unjudged" for one that says something that this version does not understand. Most are
-- told by how the reply begins.
function layout.proved(thread, ids)
  local proved, parents, start = {}, {}, '["' .. thread .. '","'
  each_reply(thread, "", ids, PROOF, function(id, reply)
    if type(reply) == "string" and find(reply, start, 1, true) == 1 then
      local parent = string.match(reply, '^([^"\\]*)","', #start + 1)
      if parent and not find(reply, COUNTERS, 1, true) then
        proved[id], parents[id] = true, parent
        return
      end
    end
    local head = reply and layout.head(layout.checkpoint_key(thread, "", id))
    proved[id] = head and head.thread == thread and (head.unjudged and "unjudged" or true) or false
    parents[id] = head and head.parent
  end)
  return proved, parents
end

-- The head of a root checkpoint that needs nothing of its ancestors, by its outline and the version
-- of its format; nil for any other.
local function plain_head(thread, id, outline, version)
  local found = type(outline) == "string" and type(version) == "string" and decoded(outline)
  if not found or found[1] ~= thread or type(found[2]) ~= "string" or type(found[3]) ~= "string"
    or find(found[3], COUNTERS, 1, true) then return nil end
  local parent = found[2]
  if has_nul(id) or has_nul(parent) then return nil end
  if parent ~= "" and (tonumber(string.match(version, "^%[(.*)%]$")) or 0) < OWN_SENDS_SINCE then
    return nil
  end
  return { thread = thread, ns = "", id = id, parent = parent, needs = {}, task = false },
    found[4], found[5]
end

-- The heads of those of some root checkpoints that are plain, by id: most are, and so many are read
-- at a fraction of what they cost one by one. Ids are in the order in which they were made.
function layout.plain_heads(thread, ids)
  local versions, heads = {}, {}
  each_reply(thread, "", ids, "$.checkpoint.v", function(id, reply) versions[id] = reply end)
  each_reply(thread, "", ids, OUTLINE, function(id, reply)
    local head, source, step = plain_head(thread, id, reply, versions[id])
    if not head then return end
    head.begins_run = begins_run(head, layout.checkpoint_key(thread, "", id), source, step)
    heads[id] = head
  end)
  return heads
end

-- The parent of a checkpoint, "" when it has none or does not exist.
function layout.parent(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), { "$.parent_checkpoint_id" })
  return values and type(values[1]) == "string" and values[1] or ""
end

-- The run that has put a checkpoint, "" when it does not say; nil when there is no such checkpoint,
-- false when its document is another thread's.
function layout.run_of(thread, ns, id)
  local values = read(layout.checkpoint_key(thread, ns, id), { "$.thread_id", "$.run_id" })
  if not values or values[1] == nil then return nil end
  return values[1] == thread and (values[2] or "")
end

-- The id that the newest-checkpoint pointer names, nil without a pointer.
function layout.latest(thread, ns)
  local key = quietly("GET", layout.latest_key(thread, ns))
  local start = layout.names(thread, ns).document
  if key and bytes.starts(key, start) then return string.sub(key, #start + 1) end
  return nil
end

-- Where the value of a delta channel is, seen from checkpoint `id`: "here", "nowhere" (never
-- written on this branch) or "above"; and the parent.
function layout.look_for(thread, ns, id, channel)
  local key = layout.checkpoint_key(thread, ns, id)
  local values = read(key, { "$.parent_checkpoint_id" })
  local parent = values and values[1] or ""
  local channels = channels_at(key)
  if channels.here[channel] then return "here", parent end
  if channels.unwritten(channel) then return "nowhere", parent end
  return "above", parent
end

local function own(keys, start)
  local mine = {}
  for _, key in ipairs(keys) do
    if bytes.starts(key, start) then mine[#mine + 1] = key end
  end
  return mine
end

-- The write keys that a checkpoint's registry names and that are its own; whether the registry
-- must outlive them, because it names others too (its prefix is the same for every saver in the
-- database) or is no registry; and the number of all that it names, of which only the first
-- `limit` were looked at.
function layout.writes(names, id, limit)
  local registry, start = names.registry .. id, names.write .. id .. ":"
  local keys = try("ZRANGE", registry, "0", limit and limit - 1 or "-1")
  if keys.err then return quietly("ZRANGE", registry, 0, 0) or {}, true, 0 end
  local count = #keys
  if count == limit then count = redis.call("ZCARD", registry) end
  for at = 1, #keys do
    if find(keys[at], start, 1, true) ~= 1 then return own(keys, start), true, count end
  end
  return keys, false, count
end

-- Whether there are pending sends among the writes that a checkpoint's registry names: LangGraph
-- takes those of a child from there that is older than format 4.
function layout.sends(thread, ns, id)
  local keys, _, count = layout.writes(layout.names(thread, ns), id, MOST_WRITES)
  if count > MOST_WRITES then return true end
  for _, key in ipairs(keys) do
    if quietly("JSON.GET", key, "$.channel") == SENDS then return true end
  end
  return false
end

-- The length of the array at a path, nil where there is none.
local function length_at(key, path)
  local reply = quietly("JSON.ARRLEN", key, path)
  return type(reply) == "table" and tonumber(reply[1]) or nil
end

-- Whether a channel's value says that a node is to run: LangGraph leaves these behind until it
-- has, also while it waits at a breakpoint. Of sends and joins an empty list is left for good. A
-- value may be large: only its length is asked for.
local function is_due(key, channel)
  if channel == "__start__" or bytes.starts(channel, "branch:to:") then return true end
  local quoted = string.gsub(cjson.encode(channel), "\\/", "/")
  local path = "$.checkpoint.channel_values[" .. quoted .. "]"
  if channel == "__pregel_tasks" then return (length_at(key, path) or 1) > 0 end
  return bytes.starts(channel, "join:") and (length_at(key, path .. ".args[0]") or 0) > 0
end

-- Whether root checkpoint `id` waits for somebody: a task has asked with `interrupt()`, or nodes
-- are to run that have not failed.
function layout.waits(thread, id)
  local names, failed = layout.names(thread, ""), false
  for _, key in ipairs((layout.writes(names, id))) do
    if string.sub(key, -#INTERRUPT) == INTERRUPT then return true end
    failed = failed or string.sub(key, -#FAILURE) == FAILURE
  end
  local key = names.document .. id
  for channel in pairs(not failed and keys_of(key, "$.checkpoint.channel_values") or {}) do
    if is_due(key, channel) then return true end
  end
  return false
end

-- How many writes the registry of a checkpoint names.
function layout.registered(thread, ns, id)
  return quietly("ZCARD", layout.registry_key(thread, ns, id)) or 0
end

-- Thread, namespace and id that a checkpoint's document states; nil for a stub, or what is none of
-- ours.
function layout.owner(key)
  local values = read(key, OWNER)
  if not values then return nil end
  local thread, ns, id = values[1], values[2], values[3]
  if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return nil end
  if ns == ROOT then ns = "" end
  if layout.checkpoint_key(thread, ns, id) ~= key then return nil end
  return thread, ns, id
end

-- Whose write the document at `key` is: thread, ns, id; nil when it does not say or is foreign.
function layout.write_owner(key)
  local values = read(key, OWNER)
  if not values then return nil end
  local thread, ns, id = values[1], values[2], values[3]
  if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return nil end
  if ns == ROOT then ns = "" end
  if not bytes.starts(key, layout.names(thread, ns).write .. id .. ":") then return nil end
  return thread, ns, id
end

-- Thread and id of what reads like a root checkpoint's name, without the prefix. No other
-- namespace ends like the root's.
function layout.root_reading(rest)
  local mark = ":" .. ROOT .. ":"
  local id = string.match(string.sub(rest, -LONGEST_TIMED_ID - 1), ":([^:]+)$")
  if not id or not clock.of_id(id) then return nil end
  local past = #rest - #id - #mark
  if past < 0 or string.sub(rest, past + 1, past + #mark) ~= mark then return nil end
  return string.sub(rest, 1, past), id
end

-- Calls `visit(thread, ns)` for each way in which a place, ":{thread}:{ns}", can be read, until it
-- answers true. Answers false where there are too many of them.
function layout.each_reading(place, visit)
  if string.sub(place, -#ROOT - 1) == ":" .. ROOT then
    visit(string.sub(place, 2, -#ROOT - 2), "")
    return true
  end
  local colons = 0
  local at = find(place, ":", 2, true)
  while at do
    colons = colons + 1
    if colons > MOST_READINGS then return false end
    if visit(string.sub(place, 2, at - 1), string.sub(place, at + 1)) then return true end
    at = find(place, ":", at + 1, true)
  end
  return true
end

-- The thread that a registry's write documents name, by the first of them that says so.
function layout.registry_owner(suffix)
  for _, key in ipairs(quietly("ZRANGE", REGISTRY .. suffix, 0, 9) or {}) do
    local thread, ns, id = layout.write_owner(key)
    if thread and layout.suffix(thread, ns, id) == suffix then return thread end
  end
  return nil
end

-- What the key of a checkpoint or of a write is called in another thread, and for a checkpoint its
-- namespace and id; nil for what is not the thread's.
function layout.renamed(key, thread, other)
  local owner, ns, id = layout.owner(key)
  if owner then return owner == thread and layout.checkpoint_key(other, ns, id) or nil, ns, id end
  owner, ns = layout.write_owner(key)
  if owner ~= thread then return nil end
  local start = #layout.names(thread, ns).write
  return layout.names(other, ns).write .. string.sub(key, start + 1)
end

-- Copies a document to the key that it has in another thread, with its TTL.
function layout.copy(key, to, other)
  redis.call("COPY", key, to, "REPLACE")
  redis.call("JSON.SET", to, "$.thread_id", cjson.encode(other))
end

-- Whether a document is a stub: a write came before its checkpoint, or after its end.
function layout.is_stub(key)
  local text = quietly("JSON.GET", key, "$.checkpoint_id", "$.thread_id")
  return text ~= nil and string.find(text, '%["') == nil
end

-- The place, ":{thread}:{ns}", of a pointer that names a checkpoint which is not there, and the id
-- that it names; nil when it is there, or when the pointer names something else.
function layout.dangling(pointer)
  local place = ":" .. string.sub(pointer, #checkpoint_prefix + #LATEST + 1)
  local key, start = quietly("GET", pointer), checkpoint_prefix .. place .. ":"
  if not key or not bytes.starts(key, start) then return nil end
  if redis.call("EXISTS", key) == 1 and not layout.is_stub(key) then return nil end
  return place, string.sub(key, #start + 1)
end

-- Whether a shallow saver keeps a namespace, ":{thread}:{ns}": its writes have no checkpoint of
-- their own.
function layout.shallow(place)
  return redis.call("EXISTS", checkpoint_prefix .. place,
    SHALLOW_REGISTRY .. place .. ":shallow") > 0
end

return layout
