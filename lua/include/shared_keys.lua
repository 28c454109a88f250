-- shared_keys: which of a thread's shared keys no checkpoint needs.
--
-- A shared key, a blob for each version of a channel say, belongs to no single checkpoint. Whatever
-- exists may be read, and may be forked, and a fork then names what its parent names. So a shared
-- key is over only when no document that exists names it, whether it has the value itself or not;
-- and its writer is gone for good, since writers put shared keys before their documents.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/lists.lua
--@include include/memory.lua

local shared_keys = {}

-- Which of some documents exist, as a function. Most often none does, which one command tells.
local function existing(documents)
  local count = lists.total("EXISTS", documents)
  return function(document)
    return count > 0 and redis.call("EXISTS", document) == 1
  end
end

-- Calls `visit(key, group)` for those to delete, and answers how many may belong to a checkpoint
-- that is still to come. It skips keys of other threads, and of checkpoints that exist.
-- `was_there(id)` says of a checkpoint that it was there and is not, or, when `counting`, that it
-- would be deleted; for all others an age of `age` milliseconds is the proof.
function shared_keys.each_over(thread, candidates, was_there, age, counting, visit)
  local keys, groups, writers, count = {}, {}, {}, 0
  -- The checkpoints that have written them: by namespace and id, and in lists.
  local by_ns, documents, ids = {}, {}, {}

  layout.each_shared_key_owner(candidates, function(key, owner, ns, id, group)
    if owner ~= thread then return end
    local of_ns = by_ns[ns]
    if not of_ns then
      of_ns = {}
      by_ns[ns] = of_ns
    end
    local writer = of_ns[id]
    if not writer then
      writer = #ids + 1
      of_ns[id], ids[writer], documents[writer] = writer, id, layout.checkpoint_key(thread, ns, id)
    end
    count = count + 1
    keys[count], groups[count], writers[count] = key, group, writer
  end)

  local now, exists, waiting, states = clock.now_ms(), existing(documents), 0, {}
  -- What is known of a checkpoint that has written shared keys: "gone" for good, "there", or
  -- perhaps on its way.
  for writer, id in ipairs(ids) do
    local made = clock.of_id(id)
    if counting and was_there(id) then
      states[writer] = "gone"
    elseif exists(documents[writer]) then
      states[writer] = "there"
    elseif made and now - made >= age or was_there(id) then
      states[writer] = "gone"
    else
      states[writer] = "waiting"
    end
  end
  for at = 1, count do
    local state = states[writers[at]]
    if state == "gone" then
      visit(keys[at], groups[at])
    elseif state == "waiting" then
      waiting = waiting + 1
    end
  end
  return waiting
end

-- Keeps to the bytes that a call may free. Keys of a group are much alike.
function shared_keys.allowance()
  local self, used, size_in = {}, 0, {}

  -- Whether one more key may be deleted. The first always may.
  function self.has_room(key, group)
    local size_of = size_in[group]
    if not size_of then
      size_of = memory.sampler(memory.of)
      size_in[group] = size_of
    end
    local total = used + size_of(key)
    if total > memory.MOST_FREED and used > 0 then return false end
    used = total
    return true
  end

  -- The bytes of those that it had room for, estimated; 0 where the server does not tell.
  function self.used() return used end

  return self
end

return shared_keys
