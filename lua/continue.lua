-- Goes on with a trim that a call of trim.lua has begun, without deciding again: it deletes more of
-- the checkpoints of one namespace below its floor. First it makes sure that what was decided still
-- holds (include/continuation.lua says why that is enough); if not, it does nothing.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua); also deleted from and rebuilt
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  keys that this call may delete, at least 10
-- ARGV[5]  1 to estimate how much memory is freed, else 0
-- ARGV[6]  1 to count the keys of what is left, else 0
-- ARGV[7]  the text by which the trim is told from all others
-- ARGV[8]… what trim.lua has handed on: the beginning of the namespace's entries, the floor, the id
--          that the latest pointer names or "", 1 when nothing is left to do afterwards, the mean
--          memory of a checkpoint or "", the number of ids that justify the deletion
-- then     these ids, and the ids below the floor that are retained
--
-- Reply    {state, checkpoints deleted, keys deleted (the checkpoints with them), checkpoints left
--          in the index, bytes freed, keys left}, as trim.lua replies
--          state "more": call this again; "decide": call trim.lua again, since something has
--          changed, or something else is left to do; "done": nothing is left to delete
--
-- Other keys it touches are the saver's, of this thread only: looks for checkpoint documents; reads
-- the latest pointer and registries; deletes checkpoint and write documents and registries.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/below_floor.lua
--@include include/batches.lua
--@include include/counting.lua

local FIRST_ID = 14
local index_key, pins_key, thread = KEYS[1], KEYS[2], ARGV[1]
local limit, estimate_memory, count_left = tonumber(ARGV[4]), ARGV[5] == "1", ARGV[6] == "1"
local mark, prefix, floor, latest = entry.MARK .. ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local is_last, mean, first_retained = ARGV[11] == "1", tonumber(ARGV[12]), FIRST_ID + ARGV[13]
local ns = string.sub(prefix, 2, -2)
layout.use(ARGV[2], ARGV[3])

local function still_holds()
  return redis.call("ZLEXCOUNT", index_key, "[" .. mark, "[" .. mark) == 1
    and redis.call("EXISTS", pins_key) == 0
    and (layout.latest(thread, ns) or "") == latest
    and layout.all_exist(thread, ns, { unpack(ARGV, FIRST_ID) })
end

-- Collects what the call may delete; true when nothing is left below the floor.
local function collect_all(batch)
  local starts, collect_checkpoints = layout.key_starts(thread, ns), batch.deletion.collect
  local runs, retained = below_floor.run_starts(batch, ""), {}
  local on_retained = ns == "" and runs.on_retained or function() end
  for at = first_retained, #ARGV do retained[ARGV[at]] = true end
  local function collect(ids, first, last) return collect_checkpoints(starts, ids, first, last) end
  local low, high = "[" .. prefix, "(" .. prefix .. floor
  if not below_floor.between(batch, low, high, prefix, retained, collect, on_retained) then
    return false
  end
  local first = batch.view.up("[" .. prefix .. floor, index.past(prefix), 1)[1]
  if first then on_retained(entry.id(first, prefix)) end
  return true
end

if not still_holds() then return { "decide", 0, 0, 0, 0, 0 } end
local batch = batches.new(index.stored(index_key), thread, limit, mean)
local done = collect_all(batch)
if done then batch.forget(mark) end
local left = batches.carry_out(batch, index_key, done and is_last, true, estimate_memory)
local state = done and (is_last and "done" or "decide") or "more"
return { state, batch.deletion.checkpoints, batch.deletion.keys, left, batch.deletion.bytes,
  count_left and counting.root_keys(index_key, thread) or 0 }
