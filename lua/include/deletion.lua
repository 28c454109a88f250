-- deletion: deletes checkpoints with all their keys, at most a set number of keys a call, fewer of
-- large ones: the server frees a document before it serves anybody else.
--
-- A checkpoint is deleted whole. One with very many writes loses its document first and its writes
-- in several calls: no reader ever finds a checkpoint with half its writes. Its index entry remains
-- until the last of its keys is deleted.

--@include layouts/${layout}.lua
--@include include/lists.lua
--@include include/memory.lua

local deletion = {}

-- A call that may delete fewer keys than usual also frees less.
local BYTES_PER_KEY = 10 * 1024
-- Writes of a checkpoint that are measured, as a sample.
local WRITES_MEASURED = 4

-- What some keys in the middle of a list take on average, nil where the server does not tell.
-- Documents grow as a thread does, and lists are in its order.
local function mean_memory(keys, count, samples)
  local first = math.max(1, math.ceil((count - samples) / 2) + 1)
  local last = math.min(count, first + samples - 1)
  local total = memory.of_all(keys, first, last)
  return total and total / math.max(1, last - first + 1)
end

-- The bytes of a checkpoint, nil where the server does not tell.
local function size_of(document, writes, count)
  local size = memory.of(document)
  if not size then return nil end
  local measured = math.min(count, WRITES_MEASURED)
  local of_writes = memory.of_all(writes, 1, measured) or 0
  return size + (measured > 0 and of_writes / measured * count or 0)
end

-- A new deletion of at most `limit` keys: they are collected first, and deleted by `run`. `mean` is
-- the mean memory of a checkpoint that an earlier call has measured, nil without one.
function deletion.new(limit, mean)
  local self = { checkpoints = 0, keys = 0, bytes = 0 }
  -- One key is set aside for the pointer, which is deleted in the call that empties its namespace.
  local room, half = limit - 1, math.floor(limit / 2)
  local documents, document_count = {}, 0
  local others, other_count = {}, 0
  local deregistered, size, mean_size = {}, memory.sampler(size_of, mean)
  local bytes_left = math.min(memory.MOST_FREED, limit * BYTES_PER_KEY)

  -- Collects the pointer of a namespace in which nothing is left, nil where the format has none;
  -- false when there is no room.
  function self.collect_pointer(key)
    if not key then return true end
    if room < 0 then return false end
    room, other_count = room - 1, other_count + 1
    others[other_count] = key
    return true
  end

  -- Collects a document with these writes, and takes them out of its registry.
  local function collect_registered(starts, id, writes)
    room, document_count = room - 1 - #writes, document_count + 1
    documents[document_count] = starts.checkpoint .. id
    for _, write in ipairs(writes) do
      other_count = other_count + 1
      others[other_count] = write
      deregistered[#deregistered + 1] = { starts.registry .. id, write }
    end
  end

  -- The document and as many writes as there is room for; the registry names what is left.
  local function collect_part(starts, id)
    local most = room - 1
    local writes, shared = {}, false
    if most > 0 then writes, shared = layout.writes(starts, id, most) end
    -- The first `most` names in a shared registry may all be another saver's: then read all.
    if shared then writes = { unpack((layout.writes(starts, id)), 1, most) } end
    collect_registered(starts, id, writes)
  end

  -- Collects a checkpoint that has many writes, or a registry that must outlive it.
  local function collect_unusual(starts, id, shared, count)
    if room < 1 then return false end
    local writes
    if shared then
      writes = layout.writes(starts, id)
      count = #writes
    end
    if count >= half then
      collect_part(starts, id)
      return false
    end
    if count + 2 > room then return false end
    room = room - 1
    collect_registered(starts, id, writes)
    return true
  end

  -- Collects the checkpoints ids[first], …, ids[last] in turn, as long as there is room; answers
  -- how many were collected whole. `starts` is what layout.key_starts says of their namespace. A
  -- trim spends its time in this loop.
  function self.collect(starts, ids, first, last)
    local document_start, registry_start = starts.checkpoint, starts.registry
    local writes_of = layout.writes
    for at = first, last do
      local id = ids[at]
      local document = document_start .. id
      local writes, shared, count = writes_of(starts, id, half)
      bytes_left = bytes_left - size(document, writes, #writes)
      -- The first is deleted however large it is.
      if bytes_left < 0 and document_count > 0 then return at - first end
      if shared or count >= half then
        if not collect_unusual(starts, id, shared, count) then return at - first end
      elseif count + 2 > room then
        return at - first
      else
        room = room - count - 2
        document_count = document_count + 1
        documents[document_count] = document
        for number = 1, count do
          others[other_count + number] = writes[number]
        end
        other_count = other_count + count + 1
        others[other_count] = registry_start .. id
      end
    end
    return last - first + 1
  end

  -- Bytes of memory of a checkpoint, nil when that is not known, negative where the server does
  -- not tell.
  self.mean = mean_size

  -- Estimates the memory that is about to be freed, -1 where the server does not tell.
  function self.estimate_memory()
    local document = mean_memory(documents, document_count, 1)
    local other = document and mean_memory(others, other_count, 4)
    self.bytes = other and math.floor(document * document_count + other * other_count) or -1
  end

  function self.run()
    self.checkpoints = lists.total("UNLINK", documents)
    self.keys = self.checkpoints + lists.total("UNLINK", others)
    for _, pair in ipairs(deregistered) do
      redis.call("ZREM", pair[1], pair[2])
    end
    if layout.take_off_lists then self.keys = self.keys + layout.take_off_lists(documents) end
  end

  return self
end

return deletion
