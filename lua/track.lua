-- Adds checkpoint documents to the indexes of their threads, and trims in the same call each
-- thread that has just crossed its trigger.
--
-- KEYS     any     checkpoint documents, of any threads, of any saver; what is not a checkpoint of
--                  this saver is passed over
--
-- ARGV[1]  the only thread whose documents are added, "" for any
-- ARGV[2]  1 when events have just told of the documents, 0 when a search or a SCAN has
-- ARGV[3]  what the names of indexes begin with; the thread follows
-- ARGV[4]  what the names of pin hashes begin with; the thread follows
-- ARGV[5], ARGV[6]  what layout.use takes (layouts/README.md)
-- ARGV[7]  keys that this call may delete for each thread, at least 10
-- ARGV[8]  1 to estimate how much memory a trim frees, else 0
-- ARGV[9]  milliseconds for which a leaf is retained
-- ARGV[10] the number of rules
-- then     the rules (include/rule_list.lua)
-- then     how many write documents the caller has seen for each of KEYS, or nothing at all
--
-- Reply    {{status…}, {thread, state, checkpoints, keys, left, bytes}…}
--          status: one for each of KEYS (include/indexing.lua); then, for each thread that was
--          trimmed, what trim.lua replies; for one with which the server has refused something:
--          {thread, "refused", what the server says}
--
-- Other keys it touches: per thread a zset, its index (include/entry.lua), is added to and, by a
-- trim, deleted from; a hash, its pins, is read; and what trim.lua touches.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/indexing.lua
--@include include/trimming.lua
--@include include/rule_list.lua
--@include include/trim_rows.lua

local only, announced, index_start, pins_start = ARGV[1], ARGV[2] == "1", ARGV[3], ARGV[4]
local limit, estimate_memory, grace = tonumber(ARGV[7]), ARGV[8] == "1", tonumber(ARGV[9])
local rule_for, first_count = rule_list.read(ARGV, 11, tonumber(ARGV[10]))
layout.use(ARGV[5], ARGV[6])

local function count(key, ns)
  return index.count(key, entry.of(entry.INDEPENDENT, ns))
end

-- Whether a namespace has just crossed the trigger. What LangGraph needs can be more than the
-- trigger: then it is crossed again each time as many have arrived as a trim usually deletes.
local function has_crossed(before, after, rule)
  local stride = math.max(1, rule.trigger - math.max(0, rule.policy.keep_last))
  local function crossings(checkpoints)
    return math.floor((checkpoints - rule.trigger - 1) / stride)
  end
  return after > rule.trigger and crossings(after) > crossings(before)
end

local function new_documents(thread)
  return { key = index_start .. thread, members = {}, headers = {}, rule = rule_for(thread) }
end

local statuses, documents_of, threads = {}, {}, {}

-- Adds what was read of a thread to its index, and trims it if it has crossed its trigger. Answers
-- what trimming.trim_batch does, nil if it has not.
local function work_off(thread)
  local documents, before = documents_of[thread], {}
  for _, header in ipairs(documents.headers) do
    if documents.rule.trigger >= 0 and not header.root and not before[header.ns] then
      before[header.ns] = count(documents.key, header.ns)
    end
  end
  indexing.add_with_leaves(documents.key, documents.members, documents.headers, announced)
  local crossed = false
  for ns, known in pairs(before) do
    crossed = crossed or has_crossed(known, count(documents.key, ns), documents.rule)
  end
  if not crossed then return nil end
  local policy_for = documents.rule.policy
  return trimming.trim_batch(documents.key, pins_start .. thread, thread, policy_for, limit,
    { again = false, complete = false, estimate_memory = estimate_memory, grace = grace,
      token = "", cursor = "" })
end

for at, key in ipairs(KEYS) do
  local status, header = indexing.read(key, only, tonumber(ARGV[first_count + at - 1] or 0))
  statuses[at] = status
  if header then
    local documents = documents_of[header.thread]
    if not documents then
      documents = new_documents(header.thread)
      documents_of[header.thread] = documents
      threads[#threads + 1] = header.thread
    end
    for _, member in ipairs(entry.members(header)) do
      table.insert(documents.members, member)
    end
    if not header.unsupported then table.insert(documents.headers, header) end
  end
end

local reply = { statuses }
for _, thread in ipairs(threads) do trim_rows.add(reply, thread, work_off) end
return reply
