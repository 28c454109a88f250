-- Copies checkpoints and writes of one thread to another thread.
--
-- KEYS     any     documents of checkpoints and of writes; what is not the source's is passed over
--
-- ARGV[1]  the thread to copy from, as it stands in the keys
-- ARGV[2]  the thread to copy to
-- ARGV[3], ARGV[4]  what layout.use takes (layouts/README.md)
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
--@include include/lists.lua
--@include include/memory.lua
--@include layouts/${layout}.lua

local source, target, pointers = ARGV[1], ARGV[2], { unpack(ARGV, 5) }
layout.use(ARGV[3], ARGV[4])

local MOST_BYTES = 2 * 1024 * 1024
local documents, copied, namespaces, listed = 0, 0, {}, {}

local function keep_ttl(from, to)
  local left = redis.call("PTTL", from)
  if left > 0 then redis.call("PEXPIRE", to, left) else redis.call("PERSIST", to) end
end

-- A registry names its writes in full.
local function copy_registry(ns, id)
  local from, to = layout.registry_key(source, ns, id), layout.registry_key(target, ns, id)
  local starts, new_start = layout.key_starts(source, ns), layout.key_starts(target, ns).write
  local members = {}
  for _, write in ipairs((layout.writes(starts, id))) do
    members[#members + 1] = redis.call("ZSCORE", from, write)
    members[#members + 1] = new_start .. string.sub(write, #starts.write + 1)
  end
  if #members == 0 then return 0 end
  redis.call("UNLINK", to)
  lists.in_parts(members, function(...) redis.call("ZADD", to, ...) end)
  keep_ttl(from, to)
  return 1
end

local function copy_pointer(ns)
  local id, there = layout.latest(source, ns), layout.latest(target, ns)
  if not id or not layout.exists(target, ns, id) then return 0 end
  if there and bytes.less(id, there) and layout.exists(target, ns, there) then return 0 end
  layout.set_latest(target, ns, id)
  keep_ttl(layout.latest_key(source, ns), layout.latest_key(target, ns))
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
for _, ns in ipairs(pointers) do
  copied = copied + copy_pointer(ns)
end
return { documents, copied, dealt_with, namespaces }
