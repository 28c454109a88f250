-- removal: deletes checkpoints with everything of theirs, at most a set number of keys a call.
--
-- A checkpoint is taken whole or, when it is larger than half a call, its document first and its
-- writes over several calls: no reader ever finds a checkpoint with half its writes. Until the
-- last of it is gone its index entry stays, which is what remembers it.

local removal = {}

local CHUNK = 1000

local function in_chunks(list, run)
  for first = 1, #list, CHUNK do
    run(unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

-- A new removal of at most `limit` keys.
function removal.new(limit)
  local self = { checkpoints = 0, keys = 0 }
  -- One is set aside for a pointer: it goes in the call in which its namespace is emptied.
  local room, half = limit - 1, math.floor(limit / 2)
  local documents, others, unregistered = {}, {}, {}

  -- Takes the pointer of a namespace in which nothing is left; false when there is no room.
  function self.take_pointer(key)
    if room < 0 then return false end
    room = room - 1
    others[#others + 1] = key
    return true
  end

  local function take_writes(registry, writes, unregister)
    local taken = #others
    for at = 1, #writes do
      others[taken + at] = writes[at]
      if unregister then unregistered[#unregistered + 1] = { registry, writes[at] } end
    end
    room = room - #writes
  end

  -- The document and as many writes as there is room for; the registry names what is left.
  local function take_part(names, id)
    room = room - 1
    documents[#documents + 1] = names.document .. id
    if room < 1 then return end
    local writes, shared = layout.writes(names, id, room)
    -- The first that a shared registry names may be another saver's, all of them.
    if shared then writes = { unpack((layout.writes(names, id)), 1, room) } end
    take_writes(names.registry .. id, writes, true)
  end

  -- Takes a checkpoint; false when (a part of) it is left for the next call. `names` is what
  -- layout.names says of its namespace.
  function self.take_checkpoint(names, id)
    if room < 1 then return false end
    local writes, shared, count = layout.writes(names, id, half)
    if shared then
      writes = layout.writes(names, id)
      count = #writes
    end
    if count >= half then
      take_part(names, id)
      return false
    end
    if #writes + 2 > room then return false end
    documents[#documents + 1] = names.document .. id
    take_writes(names.registry .. id, writes, shared)
    if not shared then others[#others + 1] = names.registry .. id end
    room = room - 2
    return true
  end

  function self.run()
    in_chunks(documents, function(...)
      self.checkpoints = self.checkpoints + redis.call("UNLINK", ...)
    end)
    self.keys = self.checkpoints
    in_chunks(others, function(...)
      self.keys = self.keys + redis.call("UNLINK", ...)
    end)
    for _, pair in ipairs(unregistered) do
      redis.call("ZREM", pair[1], pair[2])
    end
  end

  return self
end

return removal
