-- Says of some checkpoints of a thread what deleting them would delete, and what they say of
-- themselves. Writes nothing.
--
-- KEYS[1]  zset    the thread's index; not read, it says where the thread is in a cluster
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  1 to describe each checkpoint for people, else 0
-- then     for each checkpoint: its namespace, its id, and what deleting it deletes (plan.lua): ""
--          for one retained, "checkpoint", or "pointer" when that of its namespace is deleted too
--
-- Reply    {{documents, keys, description…}…}, for each checkpoint in turn; not for all when these
--          are large: call again with the others
--          documents, keys: what deleting it would delete, 0 for one retained
--          description: source, step, milliseconds since 1970, bytes of memory with all writes;
--          each a text, "" where it does not say
--
-- Other keys it touches, all read-only: documents, pointers, registries and write documents of
-- these checkpoints.

--@include layouts/${layout}.lua
--@include include/lists.lua
--@include include/memory.lua

local thread, describing, first_checkpoint = ARGV[1], ARGV[4] == "1", 5
layout.use(ARGV[2], ARGV[3])

-- Bytes of memory after which a call ends: to measure a document is to walk it.
local MOST_MEASURED = 4 * 1024 * 1024
local measured = 0

local function cost(ns, id)
  if layout.listed then return 1, 1 end
  local document = redis.call("EXISTS", layout.checkpoint_key(thread, ns, id))
  local writes, shared = layout.writes(layout.key_starts(thread, ns), id)
  local keys = document + lists.total("EXISTS", writes)
  if not shared then
    keys = keys + redis.call("EXISTS", layout.registry_key(thread, ns, id))
  end
  return document, keys
end

-- The memory of a checkpoint with all that belongs to it, nil where the server does not tell.
local function size_of(ns, id)
  if layout.listed then return layout.size(thread, id) end
  local keys = layout.writes(layout.key_starts(thread, ns), id)
  keys[#keys + 1] = layout.checkpoint_key(thread, ns, id)
  keys[#keys + 1] = layout.registry_key(thread, ns, id)
  return memory.of_all(keys, 1, #keys)
end

local function describe(row, ns, id)
  for _, text in ipairs(layout.description(thread, ns, id)) do
    row[#row + 1] = text
  end
  local size = size_of(ns, id)
  row[#row + 1], measured = tostring(size or ""), measured + (size or 0)
end

-- The row of a checkpoint; `deleted` says what deleting it deletes.
local function row_of(ns, id, deleted)
  local documents, keys = 0, 0
  if deleted ~= "" then documents, keys = cost(ns, id) end
  local pointer = deleted == "pointer" and layout.latest_key(thread, ns)
  if pointer then keys = keys + redis.call("EXISTS", pointer) end
  local row = { documents, keys }
  if describing then describe(row, ns, id) end
  return row
end

-- The id of what a plan has named; nil when it is gone since. To find it in a list may take reading
-- it, and what it costs to delete it is known.
local function id_of(name)
  if not layout.listed or not describing then return name end
  return layout.named(thread, name)[1]
end

local GONE = { 0, 0, "", "", "", "" }
local rows = {}
for at = first_checkpoint, #ARGV, 3 do
  if measured >= MOST_MEASURED then break end
  local id = id_of(ARGV[at + 1])
  rows[#rows + 1] = id and row_of(ARGV[at], id, ARGV[at + 2]) or GONE
end
return rows
