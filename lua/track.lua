-- Takes checkpoint documents into the indexes of their threads, and trims in the same call each
-- thread that has just crossed its trigger.
--
-- KEYS     JSON    checkpoint documents, of any threads, of any saver; what is not a checkpoint of
--                  this saver is passed over
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  what the names of pin hashes begin with; the thread follows
-- ARGV[3]  the saver's checkpoint prefix
-- ARGV[4]  the saver's write prefix
-- ARGV[5]  keys that this call may delete for each thread, at least 10
-- ARGV[6]  the only thread to take, "" for any
-- ARGV[7]  1 to estimate how much memory a trim frees, else 0
-- ARGV[8]  milliseconds for which a leaf stays
-- ARGV[9]  1 when events have just told of the documents, 0 when somebody has looked for them
-- ARGV[10] the number of rules
--   each   a Lua pattern for the thread, the trigger (checkpoints of one namespace, -1 for none)
--          and the policy, five values (include/policy.lua); the first rule that matches counts
-- then     how many write documents the caller has seen for each of KEYS, or nothing at all
--
-- Reply    {letters, {thread, state, checkpoints, keys, left, bytes}…}
--          letters: one for each of KEYS (include/indexing.lua); then, for each thread that was
--          trimmed, what trim.lua replies
--
-- Other keys it touches: per thread a zset, its index (include/entry.lua), is added to and, by a
-- trim, deleted from; a hash, its pins, is read; and what trim.lua touches.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/pins.lua
--@include include/memory.lua
--@include include/removal.lua
--@include include/trimming.lua
--@include include/policy.lua
--@include include/indexing.lua

layout.use(ARGV[3], ARGV[4])

local RULE = 7
local limit, only = tonumber(ARGV[5]), ARGV[6]
local grace, told = tonumber(ARGV[8]), ARGV[9] == "1"
local last_of_rules = 10 + RULE * tonumber(ARGV[10])

local function rule_for(thread)
  for at = 11, last_of_rules, RULE do
    if string.find(thread, ARGV[at]) then
      return { trigger = tonumber(ARGV[at + 1]), policy = policy.read(ARGV, at + 2) }
    end
  end
  return { trigger = -1 }
end

local function count(key, ns)
  return index.count(key, entry.of(entry.STANDING, ns))
end

-- Whether a namespace has just crossed the trigger. What LangGraph needs can keep more than the
-- trigger: then it is crossed again each time as many have come as a trim usually takes.
local function has_crossed(before, after, rule)
  local stride = math.max(1, rule.trigger - math.max(0, rule.policy.keep_last))
  local function crossings(checkpoints)
    return math.floor((checkpoints - rule.trigger - 1) / stride)
  end
  return after > rule.trigger and crossings(after) > crossings(before)
end

local function new_thread(thread)
  local rule = rule_for(thread)
  return { key = ARGV[1] .. thread, members = {}, heads = {}, rule = rule, before = {} }
end

local letters, threads, order = {}, {}, {}
for at, key in ipairs(KEYS) do
  local letter, head = indexing.read(key, only, tonumber(ARGV[last_of_rules + at] or 0))
  letters[at] = letter
  if head then
    local found = threads[head.thread]
    if not found then
      found = new_thread(head.thread)
      threads[head.thread] = found
      order[#order + 1] = head.thread
    end
    if found.rule.trigger >= 0 and not head.root and not found.before[head.ns] then
      found.before[head.ns] = count(found.key, head.ns)
    end
    for _, member in ipairs(entry.members(head)) do
      table.insert(found.members, member)
    end
    if not head.unjudged then table.insert(found.heads, head) end
  end
end

local reply = { table.concat(letters) }
for _, thread in ipairs(order) do
  local found = threads[thread]
  indexing.add_with_leaves(found.key, found.members, found.heads, told)
  local crossed = false
  for ns, before in pairs(found.before) do
    crossed = crossed or has_crossed(before, count(found.key, ns), found.rule)
  end
  if crossed then
    local result = trimming.step(found.key, ARGV[2] .. thread, thread, found.rule.policy,
      limit, { again = false, complete = false, weigh = ARGV[7] == "1", grace = grace })
    reply[#reply + 1] = { thread, result.state, result.checkpoints, result.keys, result.left,
      result.bytes }
  end
end
return reply
