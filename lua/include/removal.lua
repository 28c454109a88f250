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

-- A new removal of at most `limit` keys from `thread`.
function removal.new(thread, limit)
  local self = { checkpoints = 0, keys = 0 }
  local room, half = limit, math.floor(limit / 2)
  local documents, others, unregistered = {}, {}, {}

  local function take(list, key)
    list[#list + 1] = key
    room = room - 1
  end

  -- Takes a key that is not a checkpoint; false when there is no room for it.
  function self.take_key(key)
    if room < 1 then return false end
    take(others, key)
    return true
  end

  local function take_writes(registry, writes, unregister)
    for _, key in ipairs(writes) do
      take(others, key)
      if unregister then unregistered[#unregistered + 1] = { registry, key } end
    end
  end

  -- Takes a checkpoint; false when (a part of) it is left for the next call.
  function self.take_checkpoint(ns, id)
    if room < 1 then return false end
    local document = layout.checkpoint_key(thread, ns, id)
    local registry = layout.registry_key(thread, ns, id)
    local writes, shared, all = layout.writes(thread, ns, id, half)
    if not all then
      take(documents, document)
      take_writes(registry, (layout.writes(thread, ns, id, room)), true)
      return false
    end
    if #writes + 2 > room then return false end
    take(documents, document)
    take_writes(registry, writes, shared)
    if not shared then take(others, registry) end
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
