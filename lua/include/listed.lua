-- listed: one bounded step of trimming one thread of a storage format that lists its checkpoints by
-- itself. The decision is that of all formats; here nothing belongs to a checkpoint but itself, and
-- the layout deletes it, with its name in the list.

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

-- Names that are looked at for those of which nothing is left.
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

-- Takes names off the list of which the checkpoints are gone: a writer that is not atomic may be
-- about to put one, so only those that were found so a grace period ago.
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

-- The same as `trimming.step`, which hands on to this one.
function listed.step(key, pins_key, thread, policy, limit, given)
  local view = index.view(key, thread)
  local decided = decisions.of_thread(view, thread, policy, pins.read(pins_key, thread), {
    at_end = true, complete = true, most_unread = 0, most_missing = math.huge,
    grace = given.grace, again = given.again,
  })
  local ids, size, whole = collect(view, thread, decided.namespace(""), limit)
  local checkpoints, keys = layout.delete(thread, ids)
  -- The newest are the last to go here: until then they say how old the thread is.
  marks.idle(decided, true,
    function(member) redis.call("ZADD", key, 0, member) end,
    function(member) redis.call("ZREM", key, member) end)
  unlist_stale(key, view, thread, given.grace)
  return { state = whole and "done" or "more", checkpoints = checkpoints, keys = keys,
    left = index.checkpoints(key, thread), bytes = given.estimate_memory and size or 0 }
end

return listed
