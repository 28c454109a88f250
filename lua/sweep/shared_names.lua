-- Says which shared keys some checkpoint documents name. Writes nothing.
--
-- KEYS[1]  zset    the thread's index, which is not read: it says where the thread is
-- then     any     checkpoint documents; others do no harm
--
-- ARGV[1], ARGV[2]  what layout.use takes (layouts/README.md)
--
-- Reply    {key…}; nil when one of the documents cannot be understood

--@include layouts/${layout}.lua

layout.use(ARGV[1], ARGV[2])

local named, keys = layout.shared_keys_named({ unpack(KEYS, 2) }), {}
if not named then return false end
for key in pairs(named) do keys[#keys + 1] = key end
return keys
