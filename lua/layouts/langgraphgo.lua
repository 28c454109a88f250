-- layout: what langgraphgo's `RedisCheckpointStore` keeps.
-- layouts/README.md says what each function answers.
--
--   {prefix}checkpoint:{id}                    string  one checkpoint, as JSON
--   {prefix}thread:{thread}:checkpoints        zset    ids of the thread's checkpoints, by version
--                                              or set  in older versions, which may have none
--   {prefix}execution:{execution}:checkpoints  the same for one execution
--
-- What we call a thread is the thread id, or the execution id of checkpoints that no thread lists.
-- A checkpoint is the thread's that its metadata says, if that one lists it; else the execution's.

--@include include/positions.lua
--@include layouts/langgraphgo/go_documents.lua
--@include layouts/langgraphgo/go_listings.lua

local layout = {}

local WAYS_TO_LIST = { "thread", "execution" }

function layout.use(prefix)
  go_documents.use(prefix)
  go_listings.use(prefix)
end

local lists_read = {}

-- All that is listed under a name, as a thread and as an execution.
local function list_of(thread)
  if not lists_read[thread] then lists_read[thread] = go_listings.read(thread) end
  return lists_read[thread]
end

function layout.listed(thread)
  return list_of(thread).count
end

function layout.thread_of(key) return go_listings.thread_of(key) end

function layout.has_task_id() return false end

function layout.latest_key() return nil end

-- Whether a checkpoint is this thread's: its document is there, and says so.
local function is_its(thread, id)
  local found = go_documents.read(id)
  if not found then return false end
  if found.thread and go_listings.has("thread", found.thread, id) then
    return found.thread == thread
  end
  return found.execution == thread
end

local function exists_at(thread, position)
  local id = list_of(thread).id(positions.of(position))
  return id ~= nil and is_its(thread, id)
end

function layout.existing(thread, _, ids)
  local exists = {}
  for _, position in ipairs(ids) do exists[position] = exists_at(thread, position) end
  return exists
end

function layout.exists(thread, _, id) return exists_at(thread, id) end

function layout.all_exist(thread, _, ids)
  for _, position in ipairs(ids) do
    if not exists_at(thread, position) then return false end
  end
  return true
end

function layout.latest(thread)
  for at = list_of(thread).count - 1, 0, -1 do
    local position = positions.id(at)
    if exists_at(thread, position) then return position end
  end
  return nil
end

-- The newest of what one list names; of a set, which has no order, all of the highest version: the
-- store takes any of these.
local function add_newest(thread, way, ids)
  local list, highest = list_of(thread), nil
  for at = list.count - 1, 0, -1 do
    local id, position = list.id(at), positions.id(at)
    if go_listings.has(way, thread, id) and is_its(thread, id) then
      local version = go_documents.read(id).version
      if highest ~= nil and (version ~= highest or go_listings.is_ordered(way, thread)) then
        return
      end
      highest = version or false
      ids[#ids + 1] = position
    end
  end
end

-- What is a thread and an execution by the same name has a newest of each.
function layout.latest_too(thread)
  local ids = {}
  if list_of(thread).is_merged then
    for _, way in ipairs(WAYS_TO_LIST) do add_newest(thread, way, ids) end
  end
  return ids
end

-- An execution that threads list is none itself.
function layout.own(thread)
  return layout.latest(thread) and list_of(thread).count or 0
end

local function document(thread, position)
  local id = list_of(thread).id(positions.of(position))
  return id and go_documents.read(id)
end

function layout.put_at(thread, _, id)
  local found = document(thread, id)
  return found and found.made_at
end

-- A run is an execution.
function layout.run_start(thread, id)
  local found, first = document(thread, id), id
  local execution = found and found.execution
  for at = positions.of(id) - 1, 0, -1 do
    local older = document(thread, positions.id(at))
    if older and older.execution ~= execution then break end
    first = positions.id(at)
  end
  return first
end

function layout.waits() return false end

function layout.size(thread, id)
  return go_documents.size(list_of(thread).id(positions.of(id)))
end

function layout.description(thread, _, id)
  local found = document(thread, id) or {}
  return { "", tostring(found.version or ""),
    found.made_at and string.format("%d", found.made_at) or "" }
end

function layout.name(thread, id) return list_of(thread).id(positions.of(id)) end

function layout.named(thread, name)
  local at = list_of(thread).position(name)
  return at and { positions.id(at) } or {}
end

-- The lists that name a checkpoint: those that its metadata says, and those under `thread`.
local function unlist(thread, id, found)
  for _, way in ipairs(WAYS_TO_LIST) do
    go_listings.remove(way, thread, id)
    local other = found and found[way]
    if other and other ~= thread then go_listings.remove(way, other, id) end
  end
end

function layout.delete(thread, ids)
  local list, names, deleted = list_of(thread), {}, 0
  for number, position in ipairs(ids) do names[number] = list.id(positions.of(position)) end
  for _, id in ipairs(names) do
    local found = go_documents.read(id)
    deleted = deleted + go_documents.delete(id)
    unlist(thread, id, found)
  end
  lists_read = {}
  return deleted, deleted
end

-- Names of which the document is gone, among the oldest `most`, as long as a newer one is there: a
-- list of which nothing is there may be another store's, whose prefix begins like ours.
function layout.stale(thread, most)
  local list, names, waiting = list_of(thread), {}, {}
  for at = 0, math.min(list.count, most) - 1 do
    local id = list.id(at)
    if not go_documents.read(id) then
      waiting[#waiting + 1] = id
    elseif #waiting > 0 then
      for _, name in ipairs(waiting) do names[#names + 1] = name end
      waiting = {}
    end
  end
  return names
end

function layout.unlist(thread, names)
  for _, name in ipairs(names) do unlist(thread, name) end
  lists_read = {}
end

return layout
