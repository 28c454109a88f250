-- ancestors: retains what retained checkpoints need of their ancestors, to be read as before.

--@include include/bytes.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/decide.lua
--@include include/headers.lua

local ancestors = {}

-- Entries read ahead when ancestors are followed: most lines of descent are straight.
local AHEAD = 40

-- What is known of the ancestors in a namespace.
local function lookup(view, thread, namespace)
  local prefix, ns = namespace.prefix, namespace.ns
  local self, exists, needs = {}, {}, {}

  local function read_ahead(id)
    local ids = { id }
    for _, member in ipairs(view.down("(" .. prefix .. id .. "\1", "[" .. prefix, AHEAD)) do
      local fields = entry.fields(member)
      local known = fields[2]
      -- Put twice with different needs: the document decides.
      if needs[known] == nil then needs[known] = entry.needs(fields) or false
      else needs[known] = false end
      ids[#ids + 1] = known
    end
    for known, is_there in pairs(layout.existing(thread, ns, ids)) do exists[known] = is_there end
  end

  function self.exists(id)
    if exists[id] == nil then read_ahead(id) end
    return exists[id]
  end

  -- Where the value of a delta channel is, seen from `id` (layout.locate), and the parent.
  function self.locate(id, channel)
    local its_needs = needs[id]
    if not its_needs or its_needs.has_value[channel] == nil then
      return layout.locate(thread, ns, id, channel)
    end
    return its_needs.has_value[channel] and "here" or "above", its_needs.parent
  end

  return self
end

-- Retains the ancestors of `id` from whose writes the value of a delta channel is replayed, up to
-- and with the first that has a snapshot of it. Answers the last one reached when its parent is
-- missing before that, else nil.
local function retain_replayed(rules, known, walked, id, parent, channel)
  while parent ~= "" do
    if not known.exists(parent) then return id end
    decide.retain(rules, parent, "delta")
    local here = channel .. "\0" .. parent
    if walked[here] then return nil end
    walked[here] = true
    local where, next_parent = known.locate(parent, channel)
    if where ~= "above" then return nil end
    id, parent = parent, next_parent
  end
  return nil
end

-- A function of a checkpoint and its needs (include/headers.lua) that adds these to the rules.
-- Where a line of descent is broken, whatever is older might belong to it: all of that is retained.
function ancestors.retainer(view, thread, namespace, rules)
  local known, walked = lookup(view, thread, namespace), {}
  return function(id, needs)
    rules.has_needs = true
    if needs.pending_sends and needs.parent ~= "" and known.exists(needs.parent)
      and layout.has_sends(thread, namespace.ns, needs.parent) then
      decide.retain(rules, needs.parent, "sends")
    end
    for _, channel in ipairs(needs.channels) do
      local broken_at = retain_replayed(rules, known, walked, id, needs.parent, channel)
      if broken_at and bytes.less(rules.unclear_below, broken_at) then
        rules.unclear_below = broken_at
      end
    end
  end
end

-- Adds to the rules what the retained checkpoints need, and whether they need anything.
function ancestors.retain_needed(view, thread, reader, namespace, rules)
  local ids, retain = {}, ancestors.retainer(view, thread, namespace, rules)
  -- Listed first: what is retained below for the sake of these needs nothing itself.
  for id in pairs(rules.retained) do ids[#ids + 1] = id end
  headers.each_needs(view, reader, namespace, rules.floor, ids, retain)
end

return ancestors
