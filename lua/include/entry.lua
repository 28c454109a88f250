-- entry: what one member of a thread's index says.
--
-- All members have the score 0, so that the sorted set orders them by their bytes and a question
-- is a range. The first byte is the kind, NUL parts the fields, "" is the root namespace:
--
--   s {ns} NUL {id} [NUL {needs}]  a checkpoint in an independent namespace (include/decide.lua)
--   s NUL {id} NUL !               an unread one: a root checkpoint whose document is known to be
--                                  this thread's, and has not been read
--   t {ns} NUL {id} [NUL {needs}]  a checkpoint in a namespace with a task id in its name: it
--                                  belongs to one invocation
--   p {root} NUL {ns}              an invocation that root checkpoint {root} has started
--   n {ns} NUL {root}              the same the other way round
--   u {ns} NUL                     some checkpoint of a t namespace does not say its root: if none
--                                  does, the namespace is independent
--   b {id}                         a run begins with root checkpoint {id}
--   l {ns} NUL {id} NUL {ms}       a leaf: no checkpoint is known to name this one as its parent;
--                                  {ms} is when it was first seen, by the server's clock
--   l {ns} NUL NUL {ms}            old leaves are no longer noted (include/leaves.lua)
--   m {token}                      a trim of several calls is under way (include/continuation.lua)
--   v {ns} NUL {id} NUL {ms}       a trim has read the newest checkpoints down to this one at {ms},
--                                  and will go on there (include/evidence.lua)
--   a {ms}                         shared keys of checkpoints that are gone may be left: they were
--                                  deleted at {ms}, or the index is as old as that
--   e NUL {ms}                     the thread was found idle at {ms}, by the server's clock
--   g {name} NUL {ms}              the format's own list names a checkpoint that is gone; {ms} is
--                                  when that was first seen, by the server's clock
--   x {ns} NUL {id}                a checkpoint that this version does not understand: the thread
--                                  is left alone
--
-- {needs} says what a checkpoint needs of its ancestors, or hands on to its descendants:
--   {parent} {NUL item}*           item: v  its pending sends are writes of its parent
--                                        -c delta channel c has no value here, look at the parent
--                                        +c delta channel c is counted and has its value here
--
-- A checkpoint and its needs are one member: an index that lost members can then only know less
-- checkpoints, never the same ones with fewer needs.

--@include include/bytes.lua

local entry = {}

-- The kinds. They are stored: an index outlives the version that wrote it.
entry.INDEPENDENT, entry.INVOCATION = "s", "t"
entry.STARTED, entry.STARTED_BY, entry.WITHOUT_ROOT = "p", "n", "u"
entry.RUN_START, entry.LEAF, entry.IDLE, entry.UNSUPPORTED = "b", "l", "e", "x"
entry.MARK = "m"
entry.READ = "v"
entry.SHARED_KEYS_LEFT, entry.GONE = "a", "g"
-- Those that are each about one checkpoint.
entry.OF_CHECKPOINTS = { entry.INDEPENDENT, entry.INVOCATION, entry.UNSUPPORTED }

-- The kind of a checkpoint's entry, by whether its namespace has a task id.
function entry.kind(has_task_id)
  return has_task_id and entry.INVOCATION or entry.INDEPENDENT
end

-- The beginning of all entries of a kind for one namespace (or root).
function entry.of(kind, group)
  return kind .. group .. "\0"
end

-- The smallest text above all that begin with `prefix`.
function entry.beyond(prefix)
  local last = string.byte(prefix, -1)
  return string.sub(prefix, 1, -2) .. string.char(last + 1)
end

-- The bounds of all entries that begin with `prefix`, as ZRANGEBYLEX takes them.
function entry.range(prefix)
  return "[" .. prefix, "(" .. entry.beyond(prefix)
end

-- Members with their scores, as ZADD wants them.
function entry.scored(members)
  local scored = {}
  for at = 1, #members do
    scored[2 * at - 1], scored[2 * at] = "0", members[at]
  end
  return scored
end

-- {namespace or root, id, needs...} of a member of the kinds s, t, p, n, x.
function entry.fields(member)
  return bytes.split(string.sub(member, 2))
end

local find, sub, byte = string.find, string.sub, string.byte

-- The id in a member that begins with `prefix`, of the kinds s and t; and whether that is all.
function entry.id(member, prefix)
  local past = find(member, "\0", #prefix + 1, true)
  if past then return sub(member, #prefix + 1, past - 1), false end
  return sub(member, #prefix + 1), true
end

-- The ids in members that begin with `prefix`, of the kinds s and t; and whether that is all that
-- these say.
function entry.ids(members, prefix)
  local ids, first, plain = {}, #prefix + 1, true
  for at = 1, #members do
    local member = members[at]
    local past = find(member, "\0", first, true)
    if past then plain = false end
    ids[at] = sub(member, first, past and past - 1)
  end
  return ids, plain
end

local ROOT = entry.of(entry.INDEPENDENT, "")

-- The entry of a root checkpoint that has not been read.
function entry.unread(id)
  return ROOT .. id .. "\0!"
end

local INDEPENDENT, NUL, UNREAD = byte(entry.INDEPENDENT .. "\0!", 1, 3)

local function is_root(member)
  local kind, past_kind = byte(member, 1, 2)
  return kind == INDEPENDENT and past_kind == NUL
end

-- Whether a root checkpoint has not been read: no need is written like that.
function entry.is_unread(member)
  if #member < 5 or byte(member, -1) ~= UNREAD or byte(member, -2) ~= NUL then return false end
  return is_root(member)
end

-- The unread entries of the root checkpoints of which some members are what was read.
function entry.unread_twins(members)
  local twins = {}
  for at = 1, #members do
    local member = members[at]
    if is_root(member) and not entry.is_unread(member) then
      twins[#twins + 1] = entry.unread((entry.id(member, ROOT)))
    end
  end
  return twins
end

-- The entry of a leaf first seen at `ms`.
function entry.leaf(ns, id, ms)
  return entry.of(entry.LEAF, ns) .. id .. string.format("\0%013d", math.max(ms, 0))
end

-- The entry that says that old leaves of a namespace are no longer noted. It is like that of a leaf
-- without an id, so that it is read with the others, and before them.
function entry.without_old_leaves(ns)
  return entry.leaf(ns, "", 0)
end

-- Between which bounds the entry of a checkpoint as a leaf is, whenever it was first seen.
function entry.leaf_range(ns, id)
  local start = entry.of(entry.LEAF, ns) .. id
  return "[" .. start .. "\0", "(" .. start .. "\1"
end

-- The entry of a namespace whose newest checkpoints were read down to `id` at `ms`.
function entry.read_down_to(ns, id, ms)
  return entry.of(entry.READ, ns) .. id .. string.format("\0%013d", ms)
end

-- The entry of a thread found idle at `ms`.
function entry.idle(ms)
  return entry.of(entry.IDLE, "") .. string.format("%013d", ms)
end

-- The entry of a name whose checkpoint was first found gone at `ms`.
function entry.gone(name, ms)
  return entry.of(entry.GONE, name) .. string.format("%013d", ms)
end

-- The name, and when, that such an entry says.
function entry.read_gone(member)
  local name, ms = string.match(member, "^.(.*)%z(%d+)$")
  return name, tonumber(ms)
end

-- The entry that says that shared keys may be left since `ms`.
function entry.shared_keys_left(ms)
  return entry.SHARED_KEYS_LEFT .. string.format("%013d", ms)
end

-- When an entry says that shared keys may be left.
function entry.read_shared_keys_left(member)
  return tonumber((string.sub(member, #entry.SHARED_KEYS_LEFT + 1)))
end

-- The members that one checkpoint puts into the index. `header` is what the layout read.
function entry.members(header)
  local id, ns = header.id, header.ns
  if header.unsupported then return { entry.of(entry.UNSUPPORTED, ns) .. id } end
  local member = entry.of(entry.kind(header.has_task_id), ns) .. id
  if #header.needs > 0 then
    member = member .. "\0" .. header.parent .. "\0" .. table.concat(header.needs, "\0")
  end
  if header.root then
    return {
      member,
      entry.of(entry.STARTED, header.root) .. ns,
      entry.of(entry.STARTED_BY, ns) .. header.root,
    }
  end
  if header.has_task_id then return { member, entry.of(entry.WITHOUT_ROOT, ns) } end
  if header.begins_run then return { member, entry.RUN_START .. id } end
  return { member }
end

-- What an entry says that its checkpoint needs: {parent =, pending_sends = true, channels =
-- {name...}, has_value = {[name] = bool}}; nil when it needs nothing.
function entry.needs(fields)
  if #fields < 4 then return nil end
  local needs = { parent = fields[3], channels = {}, has_value = {} }
  for at = 4, #fields do
    local item, name = string.sub(fields[at], 1, 1), string.sub(fields[at], 2)
    if item == "v" then
      needs.pending_sends = true
    else
      needs.channels[#needs.channels + 1] = name
      needs.has_value[name] = item == "+"
    end
  end
  return needs
end

return entry
