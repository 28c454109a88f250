-- checkpoint_headers: what is read of a checkpoint's document to index it.

--@include layouts/langgraph_redis/saver_keys.lua
--@include layouts/langgraph_redis/json_documents.lua

local checkpoint_headers = {}

local HEADER = { "$.thread_id", "$.checkpoint_ns", "$.checkpoint_id", "$.parent_checkpoint_id",
  "$.metadata", "$.source", "$.checkpoint.v", "$.step" }
local COUNTERS = "counters_since_delta_snapshot"
local CONFIRMATION = '$["thread_id","parent_checkpoint_id","metadata"]'
local OUTLINE = '$["thread_id","parent_checkpoint_id","metadata","source","step"]'
-- Since this format the pending sends of a checkpoint are in its own channel values.
local OWN_SENDS_SINCE = 4

local find = string.find
local read, decoded = json_documents.read, json_documents.decoded

-- What is known of the values of a checkpoint's channels.
function checkpoint_headers.channels_at(key)
  local here = json_documents.names_at(key, "$.checkpoint.channel_values")
  local versions, any_version = json_documents.names_at(key, "$.checkpoint.channel_versions")
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
local function decisive_metadata(text, has_task_id)
  local delta = find(text, COUNTERS, 1, true)
  if not delta and not has_task_id then return {} end
  local metadata = decoded(text)
  if not metadata then return nil end
  local parents = has_task_id and type(metadata.parents) == "table" and metadata.parents or {}
  local counters = metadata[COUNTERS]
  return {
    root = type(parents[""]) == "string" and parents[""] ~= "" and parents[""] or nil,
    counters = delta and type(counters) == "table" and counters or nil,
  }
end

-- NUL parts the fields of an index entry.
local function has_nul(text)
  return text ~= nil and find(text, "\0", 1, true) ~= nil
end

local function add_needs(header, key, metadata_text, version)
  local metadata = type(metadata_text) == "string"
    and decisive_metadata(metadata_text, header.has_task_id)
  if not metadata or has_nul(header.ns) or has_nul(header.id) or has_nul(header.parent)
    or has_nul(metadata.root) then
    header.unsupported = true
    return header
  end
  header.root = metadata.root
  if header.root or header.parent == "" then return header end
  if metadata.counters then
    header.needs = delta_needs(metadata.counters, checkpoint_headers.channels_at(key))
  end
  if (tonumber(version) or 0) < OWN_SENDS_SINCE then table.insert(header.needs, 1, "v") end
  for _, need in ipairs(header.needs) do
    if has_nul(need) then header.unsupported = true end
  end
  return header
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
local function begins_run(header, key, source, step)
  if header.ns ~= "" then return false end
  steps[key] = step or false
  if source == "input" or source == "fork" then return true end
  if header.parent == "" then return false end
  local its = step_of(saver_keys.checkpoint_key(header.thread, "", header.parent))
  if its == nil then return true end
  return type(step) == "number" and type(its) == "number" and step > its + 1
end

function checkpoint_headers.header(key)
  local values = read(key, HEADER)
  if not values then return nil, "foreign" end
  local thread, ns, id = values[1], values[2], values[3]
  if thread == nil and ns == nil and id == nil then return nil, "stub" end
  if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then
    return nil, "foreign"
  end
  ns = saver_keys.read_ns(ns)
  if saver_keys.checkpoint_key(thread, ns, id) ~= key then return nil, "foreign" end
  local parent = type(values[4]) == "string" and values[4] or ""
  local header = { thread = thread, ns = ns, id = id, parent = parent, needs = {},
    has_task_id = saver_keys.has_task_id(ns) }
  add_needs(header, key, values[5], values[7])
  header.begins_run = begins_run(header, key, values[6], values[8])
  return header
end

-- Most are told by how the reply begins.
function checkpoint_headers.confirm_roots(thread, ids)
  local confirmed, parents, start = {}, {}, '["' .. thread .. '","'
  json_documents.each_reply(thread, "", ids, CONFIRMATION, function(id, reply)
    if type(reply) == "string" and find(reply, start, 1, true) == 1 then
      local parent = string.match(reply, '^([^"\\]*)","', #start + 1)
      if parent and not find(reply, COUNTERS, 1, true) then
        confirmed[id], parents[id] = true, parent
        return
      end
    end
    local header = reply and checkpoint_headers.header(saver_keys.checkpoint_key(thread, "", id))
    local mine = header ~= nil and header ~= false and header.thread == thread
    confirmed[id] = mine and header.unsupported and "unsupported" or mine
    parents[id] = header and header.parent
  end)
  return confirmed, parents
end

-- The header of a root checkpoint that needs nothing of its ancestors, by its outline and the
-- version of its format; nil for any other.
local function simple_header(thread, id, outline, version)
  local fields = type(outline) == "string" and type(version) == "string" and decoded(outline)
  if not fields or fields[1] ~= thread or type(fields[2]) ~= "string" or type(fields[3]) ~= "string"
    or find(fields[3], COUNTERS, 1, true) then return nil end
  local parent = fields[2]
  if has_nul(id) or has_nul(parent) then return nil end
  if parent ~= "" and (tonumber(string.match(version, "^%[(.*)%]$")) or 0) < OWN_SENDS_SINCE then
    return nil
  end
  return { thread = thread, ns = "", id = id, parent = parent, needs = {}, has_task_id = false },
    fields[4], fields[5]
end

-- Most root checkpoints are simple; these are read at a fraction of what they cost one by one. Ids
-- are in the order in which they were made.
function checkpoint_headers.simple_headers(thread, ids)
  local versions, found = {}, {}
  json_documents.each_reply(thread, "", ids, "$.checkpoint.v", function(id, reply)
    versions[id] = reply
  end)
  json_documents.each_reply(thread, "", ids, OUTLINE, function(id, reply)
    local header, source, step = simple_header(thread, id, reply, versions[id])
    if not header then return end
    header.begins_run = begins_run(header, saver_keys.checkpoint_key(thread, "", id), source, step)
    found[id] = header
  end)
  return found
end

return checkpoint_headers
