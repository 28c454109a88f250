-- listed: trims one thread by one batch, where the storage format lists its checkpoints by itself.
-- The decision is the same as for all formats. A checkpoint has no other keys, and the layout
-- deletes it, with its name in the list.

--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/decisions.lua
--@include include/marks.lua
--@include include/memory.lua
--@include include/pins.lua

local listed = {}

-- Names that a call examines for those whose checkpoints are gone.
local MOST_STALE = 500

-- What a call may delete: the ids, oldest first, their bytes, and whether that is all.
local function collect(view, thread, rules, limit)
  local ids, size, whole = {}, 0, true
  local prefix = evidence.ROOT.prefix
  index.each_up(view, "[" .. prefix, "(" .. prefix .. rules.floor, function(member)
    local id = entry.id(member, prefix)
    if decide.retains(rules, id) or not layout.exists(thread, "", id) then return true end
    local its_size = layout.size(thread, id)
    whole = #ids == 0 or #ids < limit and size + its_size <= memory.MOST_FREED
    if whole then ids[#ids + 1], size = id, size + its_size end
    return whole
  end)
  return ids, size, whole
end

-- When names were first found without their checkpoints.
local function gone_since(view)
  local since = {}
  index.each_of(view, entry.GONE, function(member)
    local name, ms = entry.read_gone(member)
    since[name] = { ms = ms, member = member }
  end)
  return since
end

-- Takes names off the list whose checkpoints are gone. A writer may list a name before it puts the
-- checkpoint, so only names that were found so a grace period ago.
local function unlist_stale(key, view, thread, grace)
  local since, now, over = gone_since(view), clock.now_ms(), {}
  for _, name in ipairs(layout.stale(thread, MOST_STALE)) do
    local known = since[name]
    if grace <= 0 or known and now - known.ms >= grace then
      over[#over + 1] = name
    elseif known then
      since[name] = nil
    else
      redis.call("ZADD", key, 0, entry.gone(name, now))
    end
  end
  for _, known in pairs(since) do redis.call("ZREM", key, known.member) end
  layout.unlist(thread, over)
end

-- The same as `trimming.trim_batch`, which calls this one.
function listed.trim_batch(key, pins_key, thread, policy, limit, options)
  local view = index.view(key, thread)
  local decided = decisions.of_thread(view, thread, policy, pins.read(pins_key, thread), {
    at_end = true, complete = true, most_unread = 0, most_missing = math.huge,
    grace = options.grace, again = options.again,
  })
  local ids, size, whole = collect(view, thread, decided.namespace(""), limit)
  local checkpoints, keys = layout.delete(thread, ids)
  -- The oldest are deleted first: until the end, the newest say how old the thread is.
  marks.idle(decided, true,
    function(member) redis.call("ZADD", key, 0, member) end,
    function(member) redis.call("ZREM", key, member) end)
  unlist_stale(key, view, thread, options.grace)
  return { state = whole and "done" or "more", checkpoints = checkpoints, keys = keys,
    left = index.checkpoints(key, thread), bytes = options.estimate_memory and size or 0 }
end

return listed
