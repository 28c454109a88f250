-- shared_keys: which of a thread's shared keys no checkpoint needs.
--
-- A shared key, a blob for each version of a channel say, belongs to no single checkpoint. Whatever
-- exists may be read, and may be forked, and a fork then names what its parent names. So a shared
-- key is over only when no document that exists names it, whether it has the value itself or not;
-- and its writer is gone for good, since writers put shared keys before their documents.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/memory.lua

local shared_keys = {}

-- Below this size one key in so many is measured, and the first of each group.
local LARGE, SAMPLED = 64 * 1024, 8

-- The candidates that none of the documents names; nil when one of these cannot be understood.
function shared_keys.unnamed(documents, candidates)
  local named, left = layout.shared_keys_named(documents), {}
  if not named then return nil end
  for _, key in ipairs(candidates) do
    if not named[key] then left[#left + 1] = key end
  end
  return left
end

-- Calls `visit(key, group)` for those to delete, and answers how many may belong to a checkpoint
-- that is still to come. It skips keys of other threads, and of checkpoints that exist.
-- `was_there(id)` says of a checkpoint that it was there and is not, or, when `counting`, that it
-- would be deleted; for all others an age of `age` milliseconds is the proof.
function shared_keys.each_over(thread, candidates, was_there, age, counting, visit)
  local owners, now, waiting, known = layout.shared_key_owners(candidates), clock.now_ms(), 0, {}

  -- Whether the checkpoint that has written a shared key is gone for good; nil while it is there.
  local function is_gone(ns, id)
    if counting and was_there(id) then return true end
    if redis.call("EXISTS", layout.checkpoint_key(thread, ns, id)) == 1 then return nil end
    local made = clock.of_id(id)
    return made ~= nil and now - made >= age or was_there(id)
  end

  for _, key in ipairs(candidates) do
    local owner = owners[key]
    if owner and owner[1] == thread then
      local writer = owner[2] .. "\0" .. owner[3]
      if known[writer] == nil then known[writer] = { is_gone(owner[2], owner[3]) } end
      local state = known[writer][1]
      if state then
        visit(key, owner[4])
      elseif state == false then
        waiting = waiting + 1
      end
    end
  end
  return waiting
end

-- Keeps to the bytes that a call may free.
function shared_keys.allowance()
  local self, used, groups, blind = {}, 0, {}, false

  -- The bytes of one key of a group of similar ones; nil where the server does not tell.
  local function size_of(key, group)
    local known = groups[group]
    if not known or known.size >= LARGE or known.since >= SAMPLED then
      local size = memory.of(key)
      if not size then return nil end
      known = { size = size, since = 0 }
      groups[group] = known
    end
    known.since = known.since + 1
    return known.size
  end

  -- Whether one more key may be deleted. The first always may.
  function self.has_room(key, group)
    local size = not blind and size_of(key, group) or nil
    if not size then
      blind = true
      return true
    end
    if used + size > memory.MOST_FREED and used > 0 then return false end
    used = used + size
    return true
  end

  -- The bytes of those that it had room for, estimated; 0 where the server does not tell.
  function self.used() return used end

  return self
end

return shared_keys
