-- index: the entries of one thread, read by ranges.
--
-- A view answers questions about them. `index.stored` asks the sorted set (trim, track, and a plan
-- of a thread that is indexed), `index.listed` a sorted list that the caller brought (a plan of a
-- thread that is not indexed: it must not write), `index.positions` the storage format's own list.
-- The decision does not know which it has.
--
-- Bounds are written as for ZRANGEBYLEX: "[x" from x on, "(x" without x, "-" and "+" the ends.

--@include include/bytes.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/positions.lua

local index = {}

-- The members of the sorted set at `key`.
function index.stored(key)
  local view, last_kind = {}, nil

  -- Whether all members are of lower kinds than a bound. Saves commands, most often for threads
  -- without subgraphs.
  local function is_behind_all(bound)
    if not last_kind then
      last_kind = string.sub(redis.call("ZRANGE", key, -1, -1)[1] or "", 1, 1)
    end
    return bytes.less(last_kind, string.sub(bound, 2, 2))
  end

  function view.up(low, high, count)
    if is_behind_all(low) then return {} end
    return redis.call("ZRANGEBYLEX", key, low, high, "LIMIT", "0", count)
  end

  function view.down(high, low, count)
    return redis.call("ZREVRANGEBYLEX", key, high, low, "LIMIT", "0", count)
  end

  return view
end

-- The members list[first], ..., list[last], which are in the order of bytes.
function index.listed(list, first, last)
  local view = {}

  local function first_not_below(text)
    local low, high = first, last + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if bytes.less(list[middle], text) then low = middle + 1 else high = middle end
    end
    return low
  end

  -- The position of the first member above the bound, or on it if `with` says so.
  local function position(bound, with)
    if bound == "-" then return first end
    if bound == "+" then return last + 1 end
    local text = string.sub(bound, 2)
    local at = first_not_below(text)
    if list[at] == text and string.sub(bound, 1, 1) ~= with then at = at + 1 end
    return at
  end

  local function slice(from, to, direction, count)
    local found = {}
    for at = from, to, direction do
      if #found == count then break end
      found[#found + 1] = list[at]
    end
    return found
  end

  function view.up(low, high, count)
    return slice(position(low, "["), position(high, "(") - 1, 1, count)
  end

  function view.down(high, low, count)
    return slice(position(high, "(") - 1, position(low, "["), -1, count)
  end

  return view
end

-- The checkpoints of a format that lists them by itself, `count` of them, by their positions. All
-- else that is known of the thread is in the sorted set at `key`.
function index.positions(key, count)
  local members = setmetatable({}, { __index = function(_, at)
    return entry.of(entry.INDEPENDENT, "") .. positions.id(at - 1)
  end })
  local own, ours = index.listed(members, 1, count), index.stored(key)

  local function view_of(bound)
    return string.sub(bound, 2, 2) == entry.INDEPENDENT and own or ours
  end

  return {
    up = function(low, high, most) return view_of(low).up(low, high, most) end,
    down = function(high, low, most) return view_of(low).down(high, low, most) end,
  }
end

-- The view of a thread, whose index is at `key`.
function index.view(key, thread)
  if layout.listed then return index.positions(key, layout.listed(thread)) end
  return index.stored(key)
end

-- The bound behind everything that begins with a prefix.
function index.past(prefix)
  return "(" .. entry.beyond(prefix)
end

-- The first member that begins with a prefix, nil when none does.
function index.first(view, prefix)
  return view.up("[" .. prefix, index.past(prefix), 1)[1]
end

-- Whether a view has any checkpoint. Where runs began says nothing in a thread without any.
function index.has_checkpoints(view)
  for _, kind in ipairs(entry.OF_CHECKPOINTS) do
    if index.first(view, kind) then return true end
  end
  return false
end

-- {ns, id} of the first checkpoint that this version does not understand, nil without any.
function index.unsupported(view)
  local member = index.first(view, entry.UNSUPPORTED)
  local fields = member and entry.fields(member)
  return fields and { fields[1], fields[2] or "" }
end

-- The oldest id among the checkpoints whose entries begin with a prefix, nil without any.
function index.oldest_id(view, prefix)
  local member = index.first(view, prefix)
  return member and entry.id(member, prefix)
end

-- The newest of them.
function index.newest_id(view, prefix)
  local member = view.down(index.past(prefix), "[" .. prefix, 1)[1]
  return member and entry.id(member, prefix)
end

-- How many members of the index at `key` begin with a prefix.
function index.count(key, prefix)
  return redis.call("ZLEXCOUNT", key, "[" .. prefix, index.past(prefix))
end

-- How many checkpoints of a thread are known; its index is at `key`.
function index.checkpoints(key, thread)
  if layout.listed then return layout.own(thread) end
  return index.count(key, entry.INDEPENDENT) + index.count(key, entry.INVOCATION)
end

local function each_page(read, from, to, chunk, visit)
  repeat
    local members = read(from, to, chunk)
    if visit(members) == false then return end
    from = "(" .. (members[#members] or "")
  until #members < chunk
end

local function one_by_one(visit)
  return function(members)
    for _, member in ipairs(members) do
      if visit(member) == false then return false end
    end
    return true
  end
end

-- Calls `visit(members)` for the members from `low` to `high`, a hundred at a time, until it
-- answers false.
function index.each_page_up(view, low, high, visit)
  each_page(view.up, low, high, 100, visit)
end

-- Calls `visit(member)` for each of them, until it answers false.
function index.each_up(view, low, high, visit)
  index.each_page_up(view, low, high, one_by_one(visit))
end

-- Calls `visit(member)` for each member that begins with a prefix, until it answers false.
function index.each_of(view, prefix, visit)
  local low, high = entry.range(prefix)
  index.each_up(view, low, high, visit)
end

-- The same from `high` down to `low`, read `chunk` at a time.
function index.each_down(view, high, low, chunk, visit)
  each_page(view.down, high, low, chunk, one_by_one(visit))
end

-- Reads the members from `low` to `high` as they are asked for, `chunk` at a time: `peek()` is the
-- one at hand, nil at the end, and `skip()` goes on to the next.
function index.reader(view, low, high, chunk)
  local members, at = nil, 1
  local self = {}

  function self.peek()
    if not members or at > #members and at > chunk then
      members, at = view.up(low, high, chunk), 1
      low = "(" .. (members[#members] or "")
    end
    return members[at]
  end

  function self.skip()
    at = at + 1
  end

  return self
end

-- The members of one checkpoint: one, or two when it was put twice with different needs.
function index.members_of(view, kind, ns, id)
  local start = entry.of(kind, ns) .. id
  return view.up("[" .. start, "(" .. start .. "\1", 10)
end

-- Above every root namespace's entry and below those of all other namespaces.
index.BEHIND_ROOT = "\1"

-- The first namespace from `ns` on that has entries of `kind`, nil when there is none.
function index.namespace_from(view, kind, ns)
  local member = view.up("[" .. kind .. ns, "(" .. entry.beyond(kind), 1)[1]
  return member and entry.fields(member)[1]
end

-- Calls `visit(ns)` for each of them in order, until it answers false; whether it never did.
function index.each_namespace(view, kind, ns, visit)
  ns = index.namespace_from(view, kind, ns)
  while ns do
    if not visit(ns) then return false end
    ns = index.namespace_from(view, kind, ns .. "\1")
  end
  return true
end

return index
