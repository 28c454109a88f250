-- entry: what one member of a thread's index says.
--
-- All members have the score 0, so that the sorted set orders them by their bytes and a question
-- is a range. The first byte is the kind, NUL parts the fields, "" is the root namespace:
--
--   s {ns} NUL {id} [NUL {chain}]  a checkpoint in a namespace that counts by itself
--   s NUL {id} NUL !               a root checkpoint whose document is known to be this thread's,
--                                  and has not been read
--   t {ns} NUL {id} [NUL {chain}]  a checkpoint in a namespace with a task id in its name: it
--                                  belongs to one invocation
--   p {root} NUL {ns}              the invocations that root checkpoint {root} started
--   n {ns} NUL {root}              the same the other way round
--   u {ns} NUL                     some checkpoint of a t namespace does not say its root: if none
--                                  does, the namespace counts by itself
--   b {id}                         a run begins with root checkpoint {id}
--   l {ns} NUL {id} NUL {ms}       a leaf: no checkpoint is known to name this one as its parent;
--                                  {ms} is when it was first seen, by the server's clock
--   e NUL {ms}                     the thread was found idle at {ms}, by the server's clock
--   x {ns} NUL {id}                a checkpoint that cannot be judged: the thread is left alone
--
-- {chain} says what a checkpoint needs of its ancestors, or hands on to its descendants:
--   {parent} {NUL item}*           item: v  its pending sends are writes of its parent
--                                        -c delta channel c has no value here, look at the parent
--                                        +c delta channel c is counted and has its value here
--
-- An entry with its chain is one member: an index that lost members can then only know less
-- checkpoints, never the same ones with fewer needs.

local entry = {}

entry.STANDING, entry.TASK, entry.BY_ROOT, entry.BY_NAMESPACE = "s", "t", "p", "n"
entry.ROOTLESS, entry.RUN, entry.UNJUDGED = "u", "b", "x"
entry.LEAF, entry.IDLE = "l", "e"

-- The beginning of all entries of a kind for one namespace (or root).
function entry.of(kind, group)
  return kind .. group .. "\0"
end

-- The smallest text above all that begin with `prefix`.
function entry.beyond(prefix)
  local last = string.byte(prefix, -1)
  return string.sub(prefix, 1, -2) .. string.char(last + 1)
end

-- Members with their scores, as ZADD wants them.
function entry.scored(members)
  local scored = {}
  for at = 1, #members do
    scored[2 * at - 1], scored[2 * at] = "0", members[at]
  end
  return scored
end

-- {group, id, chain fields...} of a member of the kinds s, t, p, n, x.
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

-- The entry of a root checkpoint that has not been read.
function entry.unread(id)
  return "s\0" .. id .. "\0!"
end

local S, NUL, UNREAD = byte("s\0!", 1, 3)

-- Whether a root checkpoint has not been read: no item of a chain begins like that.
function entry.is_unread(member)
  if #member < 5 or byte(member, -1) ~= UNREAD or byte(member, -2) ~= NUL then return false end
  local kind, past_kind = byte(member, 1, 2)
  return kind == S and past_kind == NUL
end

-- The entry of a leaf first seen at `ms`.
function entry.leaf(ns, id, ms)
  return entry.of(entry.LEAF, ns) .. id .. string.format("\0%013d", math.max(ms, 0))
end

-- The entry of a thread found idle at `ms`.
function entry.idle(ms)
  return entry.of(entry.IDLE, "") .. string.format("%013d", ms)
end

-- The members that one checkpoint puts into the index. `head` is what the layout read.
function entry.members(head)
  local id = head.id
  if head.unjudged then return { entry.of(entry.UNJUDGED, head.ns) .. id } end
  local member = entry.of(head.task and entry.TASK or entry.STANDING, head.ns) .. id
  if #head.needs > 0 then
    member = member .. "\0" .. head.parent .. "\0" .. table.concat(head.needs, "\0")
  end
  if head.root then
    return {
      member,
      entry.of(entry.BY_ROOT, head.root) .. head.ns,
      entry.of(entry.BY_NAMESPACE, head.ns) .. head.root,
    }
  end
  if head.task then return { member, entry.of(entry.ROOTLESS, head.ns) } end
  if head.begins_run then return { member, entry.RUN .. id } end
  return { member }
end

-- What an entry needs: {parent =, sends = true, channels = {name...}, here = {name = bool}}, or
-- nil when it stands for itself.
function entry.chain(fields)
  if #fields < 4 then return nil end
  local chain = { parent = fields[3], channels = {}, here = {} }
  for at = 4, #fields do
    local item, name = string.sub(fields[at], 1, 1), string.sub(fields[at], 2)
    if item == "v" then
      chain.sends = true
    else
      chain.channels[#chain.channels + 1] = name
      chain.here[name] = item == "+"
    end
  end
  return chain
end

return entry
