-- checkpoint_headers: what is read of a checkpoint's document to index it.

--@include include/bytes.lua
--@include layouts/langgraph/json_documents.lua

local checkpoint_headers = {}

local HEADER = { "$.thread_id", "$.checkpoint_ns", "$.checkpoint_id", "$.parent_checkpoint_id",
  "$.metadata", "$.source", "$.checkpoint.v", "$.step" }
local COUNTERS = "counters_since_delta_snapshot"
local CONFIRMATION = '$["thread_id","parent_checkpoint_id","metadata"]'
local OUTLINE = '$["thread_id","parent_checkpoint_id","metadata","source","step"]'
-- Since this format the pending sends of a checkpoint are in its own channel values.
local OWN_SENDS_SINCE = 4

local find = string.find
local decoded = json_documents.decoded

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

-- The parts of the metadata that decide.
local function decisive(metadata, has_task_id)
  local parents = has_task_id and type(metadata.parents) == "table" and metadata.parents or {}
  local counters = metadata[COUNTERS]
  return {
    root = type(parents[""]) == "string" and parents[""] ~= "" and parents[""] or nil,
    counters = type(counters) == "table" and counters or nil,
  }
end

-- NUL parts the fields of an index entry.
local function has_nul(text)
  return text ~= nil and find(text, "\0", 1, true) ~= nil
end

-- How a saver writes metadata that is a JSON text in a JSON document.
checkpoint_headers.METADATA_AS_TEXT = {
  -- Whether the metadata is that of another saver, which writes it in another way.
  is_foreign = function(metadata) return type(metadata) == "table" end,
  -- The metadata, nil when it cannot be read. Most says nothing that decides: that is not decoded.
  read = function(metadata, has_task_id)
    if type(metadata) ~= "string" then return nil end
    if not has_task_id and not find(metadata, COUNTERS, 1, true) then return {} end
    return decoded(metadata)
  end,
  -- How a reply to CONFIRMATION goes on after the thread, with the parent captured; the second is
  -- that of a checkpoint without a parent.
  patterns = { '^"([^"\\]*)","' },
  needs_nothing = function(metadata)
    return type(metadata) == "string" and not find(metadata, COUNTERS, 1, true)
  end,
}

-- And metadata that is an object in it.
checkpoint_headers.METADATA_AS_OBJECT = {
  is_foreign = function(metadata) return type(metadata) == "string" end,
  read = function(metadata) return type(metadata) == "table" and metadata or nil end,
  patterns = { '^"([^"\\]*)",{', '^(null),{' },
  needs_nothing = function(metadata)
    return type(metadata) == "table" and not metadata[COUNTERS]
  end,
}

local function add_needs(header, metadata, version, channels_at)
  if not metadata or has_nul(header.ns) or has_nul(header.id) or has_nul(header.parent)
    or has_nul(metadata.root) then
    header.unsupported = true
    return header
  end
  header.root = metadata.root
  if header.root or header.parent == "" then return header end
  if metadata.counters then
    local channels = channels_at(header.thread, header.ns, header.id)
    header.needs = delta_needs(metadata.counters, channels)
  end
  if (tonumber(version) or 0) < OWN_SENDS_SINCE then table.insert(header.needs, 1, "v") end
  for _, need in ipairs(header.needs) do
    if has_nul(need) then header.unsupported = true end
  end
  return header
end

-- Answers of a layout (layouts/README.md). `keys` is what saver_keys.new made, `format` how the
-- saver writes metadata, one of those above. `channels_at(thread, ns, id)` answers of a checkpoint:
--   here             whether it has a channel's value, by name
--   unwritten(name)  whether there is no value of a channel to look for, here or above
-- `reader` reads what is at paths of documents that are not JSON, as json_documents.read does.
function checkpoint_headers.new(keys, format, channels_at, reader)
  local self, read = {}, reader or json_documents.read

  -- The steps of root checkpoints that have been read, by key: most are read in their order, and
  -- each asks for the one before.
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
    local its = step_of(keys.checkpoint_key(header.thread, "", header.parent))
    if its == nil then return true end
    return type(step) == "number" and type(its) == "number" and step > its + 1
  end

  function self.header(key)
    local values = read(key, HEADER)
    if not values then return nil, "foreign" end
    local thread, ns, id = values[1], values[2], values[3]
    if thread == nil and ns == nil and id == nil then return nil, "stub" end
    if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string"
      or format.is_foreign(values[5]) then
      return nil, "foreign"
    end
    ns = json_documents.read_ns(ns)
    if keys.checkpoint_key(thread, ns, id) ~= key then return nil, "foreign" end
    local parent = type(values[4]) == "string" and values[4] or ""
    local header = { thread = thread, ns = ns, id = id, parent = parent, needs = {},
      has_task_id = keys.has_task_id(ns) }
    local metadata = format.read(values[5], header.has_task_id)
    add_needs(header, metadata and decisive(metadata, header.has_task_id), values[7], channels_at)
    header.begins_run = begins_run(header, key, values[6], values[8])
    return header
  end

  -- The parent in a reply to CONFIRMATION of a checkpoint of the thread that needs nothing of its
  -- ancestors; nil where that does not show at once.
  local function plain_parent(reply, start)
    if type(reply) ~= "string" or find(reply, start, 1, true) ~= 1
      or find(reply, COUNTERS, 1, true) then return nil end
    for at, pattern in ipairs(format.patterns) do
      local parent = string.match(reply, pattern, #start + 1)
      if parent then return at == 1 and parent or "" end
    end
    return nil
  end

  -- Most are told by how the reply begins.
  function self.confirm_roots(thread, ids)
    local confirmed, parents, start = {}, {}, '["' .. thread .. '",'
    local first = keys.key_starts(thread, "").checkpoint
    json_documents.each_reply(first, ids, CONFIRMATION, function(id, reply)
      local parent = plain_parent(reply, start)
      if parent then
        confirmed[id], parents[id] = true, parent
        return
      end
      local header = reply and self.header(first .. id)
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
    if not fields or fields[1] ~= thread or not format.needs_nothing(fields[3]) then return nil end
    local parent = fields[2]
    if parent == cjson.null then parent = "" end
    if type(parent) ~= "string" or has_nul(id) or has_nul(parent) then return nil end
    if parent ~= "" and (tonumber(string.match(version, "^%[(.*)%]$")) or 0) < OWN_SENDS_SINCE then
      return nil
    end
    return { thread = thread, ns = "", id = id, parent = parent, needs = {}, has_task_id = false },
      fields[4], fields[5]
  end

  -- Most root checkpoints are simple; these are read at a fraction of what they cost one by one.
  -- Ids are in the order in which they were made.
  function self.simple_headers(thread, ids)
    local versions, found, start = {}, {}, keys.key_starts(thread, "").checkpoint
    json_documents.each_reply(start, ids, "$.checkpoint.v", function(id, reply)
      versions[id] = reply
    end)
    json_documents.each_reply(start, ids, OUTLINE, function(id, reply)
      local header, source, step = simple_header(thread, id, reply, versions[id])
      if not header then return end
      header.begins_run = begins_run(header, start .. id, source, step)
      found[id] = header
    end)
    return found
  end

  return self
end

return checkpoint_headers
