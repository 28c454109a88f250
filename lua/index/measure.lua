-- Says how many checkpoints indexes know, how many keys those have, and how much memory some of
-- them take, chosen at random. Writes nothing.
--
-- KEYS     zset    indexes of threads (include/entry.lua)
--
-- ARGV[1]  what the names of indexes begin with; the thread follows
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  checkpoints to measure of each thread
-- ARGV[5]  1 to count keys, else 0
-- ARGV[6]  1 to measure the document of the newest root checkpoint, else 0
--
-- Reply    {{checkpoints, keys, measured, bytes, newest, bytes of it}…}, one for each of KEYS
--          keys: of the root checkpoints (include/counting.lua), 0 when that was not asked
--          measured, bytes: checkpoints that were measured, and what they take with their writes
--          and registries; 0 where the server does not tell
--          newest: the id of that root checkpoint, "" when that was not asked or there is none
--
-- Other keys it touches, all read-only: checkpoint documents, registries and write documents.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/counting.lua
--@include include/memory.lua
--@include include/positions.lua

local index_start, samples, count_keys = ARGV[1], tonumber(ARGV[4]), ARGV[5] == "1"
local measure_newest = ARGV[6] == "1"
layout.use(ARGV[2], ARGV[3])

-- Entries drawn for each checkpoint to measure: not every entry is of a checkpoint that exists.
local TRIES = 4
-- Writes that are measured of a checkpoint at most.
local MOST_WRITES = 100

-- The memory of a checkpoint, nil when it is gone or the server does not tell.
local function measure(thread, ns, id)
  local bytes_used = memory.of(layout.checkpoint_key(thread, ns, id))
  if not bytes_used or bytes_used == 0 then return nil end
  local writes, _, named = layout.writes(layout.key_starts(thread, ns), id, MOST_WRITES)
  local of_writes = 0
  for _, key in ipairs(writes) do
    of_writes = of_writes + (memory.of(key) or 0)
  end
  -- Of very many writes the first are a sample.
  if #writes == MOST_WRITES then of_writes = of_writes * named / MOST_WRITES end
  return bytes_used + of_writes + (memory.of(layout.registry_key(thread, ns, id)) or 0)
end

-- Of a list whose checkpoints are at positions, the same at even distances.
local function sample_listed(thread)
  local measured, total, count = 0, 0, layout.own(thread)
  for number = 0, math.min(samples, count) - 1 do
    local id = positions.id(math.floor(number * count / math.min(samples, count)))
    local size = layout.exists(thread, "", id) and layout.size(thread, id) or 0
    if size > 0 then measured, total = measured + 1, total + size end
  end
  return measured, total
end

local function sample(key, thread)
  local measured, total = 0, 0
  if samples == 0 then return measured, total end
  if layout.listed then return sample_listed(thread) end
  for _, member in ipairs(redis.call("ZRANDMEMBER", key, samples * TRIES)) do
    local kind = string.sub(member, 1, 1)
    if measured < samples and (kind == entry.INDEPENDENT or kind == entry.INVOCATION) then
      local fields = entry.fields(member)
      local bytes_used = measure(thread, fields[1], fields[2])
      if bytes_used then measured, total = measured + 1, total + bytes_used end
    end
  end
  return measured, total
end

local function newest(key, thread)
  if not measure_newest then return "", 0 end
  local latest = layout.listed and layout.latest(thread)
  if latest then return layout.name(thread, latest), layout.size(thread, latest) end
  local id = index.newest_id(index.stored(key), entry.of(entry.INDEPENDENT, ""))
  if not id then return "", 0 end
  return id, memory.of(layout.checkpoint_key(thread, "", id)) or 0
end

local reply = {}
for at, key in ipairs(KEYS) do
  local thread = string.sub(key, #index_start + 1)
  local keys = count_keys and counting.root_keys(key, thread) or 0
  local measured, total = sample(key, thread)
  local id, bytes_used = newest(key, thread)
  reply[at] = { index.checkpoints(key, thread), keys, measured, total, id, bytes_used }
end
return reply
