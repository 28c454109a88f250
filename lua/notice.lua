-- Trims the threads whose lists of checkpoints have just changed, if they are beyond their trigger:
-- what track.lua is for other formats, for those that list their checkpoints by themselves.
--
-- KEYS     any     keys of such lists, of any threads; what is none is passed over
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2]  what the names of pin hashes begin with; the thread follows
-- ARGV[3], ARGV[4]  what layout.use takes (layouts/README.md)
-- ARGV[5]  keys that this call may delete for each thread, at least 10
-- ARGV[6]  1 to estimate how much memory a trim frees, else 0
-- ARGV[7]  milliseconds for which the name of a checkpoint that is gone stays in a list
-- ARGV[8]  the number of rules
-- then     the rules (include/rule_list.lua)
--
-- Reply    {{}, {thread, state, checkpoints, keys, left, bytes}…}, as track.lua replies
--
-- Other keys it touches: per thread a zset, its index (include/entry.lua), and a hash, its pins;
-- and what trim.lua touches.

--@include layouts/${layout}.lua
--@include include/listed.lua
--@include include/rule_list.lua
--@include include/trim_rows.lua

local index_start, pins_start = ARGV[1], ARGV[2]
local limit, estimate_memory, grace = tonumber(ARGV[5]), ARGV[6] == "1", tonumber(ARGV[7])
local rule_for = rule_list.read(ARGV, 9, tonumber(ARGV[8]))
layout.use(ARGV[3], ARGV[4])

-- Answers what listed.trim_batch does, nil for a thread that is not beyond its trigger.
local function work_off(thread)
  local rule = rule_for(thread)
  if rule.trigger < 0 or layout.listed(thread) <= rule.trigger then return nil end
  return listed.trim_batch(index_start .. thread, pins_start .. thread, thread, rule.policy,
    limit, { again = false, estimate_memory = estimate_memory, grace = grace })
end

local reply, done = { {} }, {}
for _, key in ipairs(KEYS) do
  local thread = layout.thread_of(key)
  if thread and not done[thread] then
    done[thread] = true
    trim_rows.add(reply, thread, work_off)
  end
end
return reply
