-- Copies checkpoints and writes of one thread to another thread.
--
-- KEYS     JSON    documents of checkpoints and of writes; what is not the source's is passed over
--
-- ARGV[1]  the thread to copy from, as it stands in the keys
-- ARGV[2]  the thread to copy to
-- ARGV[3]  the saver's checkpoint prefix
-- ARGV[4]  the saver's write prefix
-- then     namespaces whose pointers are to be copied too
--
-- Reply    {documents copied, keys copied (all of them), KEYS dealt with, {namespaces of
--          the documents}}: when it has copied 2 MB, a call leaves the rest of KEYS to the next
--
-- Other keys it touches: registries and pointers of both threads. A registry is copied with its
-- checkpoint. A pointer is set that is not there, or that names an older checkpoint.
--
-- A copy has the TTL of what it is a copy of. What the target has under the same names is replaced.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/memory.lua

local source, target = ARGV[1], ARGV[2]
local MOST_BYTES, CHUNK = 2 * 1024 * 1024, 1000
local documents, copied, namespaces, listed = 0, 0, {}, {}

layout.use(ARGV[3], ARGV[4])

local function keep_ttl(from, to)
  local left = redis.call("PTTL", from)
  if left > 0 then redis.call("PEXPIRE", to, left) end
end

-- A registry names its writes in full.
local function copy_registry(ns, id)
  local from, to = layout.registry_key(source, ns, id), layout.registry_key(target, ns, id)
  local start = #layout.names(source, ns).write
  local new_start, members = layout.names(target, ns).write, {}
  for _, write in ipairs((layout.writes(layout.names(source, ns), id))) do
    members[#members + 1] = redis.call("ZSCORE", from, write)
    members[#members + 1] = new_start .. string.sub(write, start + 1)
  end
  if #members == 0 then return 0 end
  redis.call("UNLINK", to)
  for first = 1, #members, CHUNK do
    redis.call("ZADD", to, unpack(members, first, math.min(first + CHUNK - 1, #members)))
  end
  keep_ttl(from, to)
  return 1
end

local function copy_pointer(ns)
  local id, there = layout.latest(source, ns), layout.latest(target, ns)
  if not id or not layout.real(target, ns, { id })[id] then return 0 end
  if there and bytes.less(id, there) and layout.real(target, ns, { there })[there] then return 0 end
  local to = layout.latest_key(target, ns)
  redis.call("SET", to, layout.checkpoint_key(target, ns, id))
  keep_ttl(layout.latest_key(source, ns), to)
  return 1
end

local dealt_with, size = 0, 0
for at, key in ipairs(KEYS) do
  if size > MOST_BYTES then break end
  dealt_with = at
  local to, ns, id = layout.renamed(key, source, target)
  if to then
    size = size + (memory.of(key) or 0)
    layout.copy(key, to, target)
    copied = copied + 1
    if id then
      documents, copied = documents + 1, copied + copy_registry(ns, id)
      if not listed[ns] then
        listed[ns] = true
        namespaces[#namespaces + 1] = ns
      end
    end
  end
end
for at = 5, #ARGV do
  copied = copied + copy_pointer(ARGV[at])
end
return { documents, copied, dealt_with, namespaces }
