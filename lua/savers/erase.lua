-- Deletes all of a thread that its index knows, and then what is ours of it: index and pins.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua); deleted from, and deleted at the end
-- KEYS[2]  hash    the thread's pins (include/pins.lua); deleted at the end
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  keys that this call may delete, at least 10
--
-- Reply    {state, checkpoints deleted, keys deleted (the checkpoints with them)}
--          state "done": nothing is left that the index knows; "more": call again
--
-- Other keys it touches are the saver's, of this thread only: reads registries; deletes checkpoint
-- and write documents, registries and pointers.
--
-- The newest are deleted first, the pointer of a namespace with the first of these: from the
-- first call on, LangGraph finds nothing to go on from.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/lists.lua
--@include include/deletion.lua

local index_key, pins_key, thread, limit = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[4])
layout.use(ARGV[2], ARGV[3])

local PAGE = 50
local view, to_delete, forgets = index.stored(index_key), deletion.new(limit), {}

-- Collects the checkpoints of a namespace; false when (a part of) it is left for the next call.
local function collect_namespace(kind, ns)
  local starts, prefix, last = layout.key_starts(thread, ns), entry.of(kind, ns), nil
  if not to_delete.collect_pointer(layout.latest_key(thread, ns)) then return false end
  local whole = true
  index.each_down(view, index.past(prefix), "[" .. prefix, PAGE, function(member)
    local id = entry.id(member, prefix)
    whole = id == last or to_delete.collect(starts, { id }, 1, 1) == 1
    if whole then forgets[#forgets + 1] = member end
    last = id
    return whole
  end)
  return whole
end

local function collect_all()
  for _, kind in ipairs(entry.OF_CHECKPOINTS) do
    local whole = index.each_namespace(view, kind, "", function(ns)
      return collect_namespace(kind, ns)
    end)
    if not whole then return false end
  end
  return true
end

local done = collect_all()
to_delete.run()
if done then
  redis.call("UNLINK", index_key, pins_key)
else
  lists.in_parts(forgets, function(...) redis.call("ZREM", index_key, ...) end)
end
return { done and "done" or "more", to_delete.checkpoints, to_delete.keys }
