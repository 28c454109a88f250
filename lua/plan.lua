-- Says what a trim would do to one thread, checkpoint by checkpoint, a page at a time. Writes
-- nothing.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), read when no entries are given
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  the index entry that the last page ended with, "" for the first page
-- ARGV[5]  checkpoints to judge in this call
-- ARGV[6]  milliseconds for which a leaf stays
-- ARGV[7]… the policy, five values (include/policy.lua)
-- ARGV[12] 1 to describe each checkpoint for people, else 0
-- ARGV[13] 0 to read the index; 1 when the thread's index entries follow, all that there are, in
--          the order of bytes; 2 when they follow and may not be all
-- then     the index entries
--
-- Reply    {state, next, ns, id, {ns, id, reasons, documents, keys, description…}…}
--          state "plan"; or "unjudged" because of checkpoint {ns, id}; or "unread" when the index
--          knows only the names of some: read these, and bring the entries
--          next: what to give as ARGV[4] for the page that follows, "" at the end
--          reasons: parted by commas (include/decide.lua), "" for a checkpoint that goes
--          documents, keys: what deleting it would delete, 0 for one that stays; with the first
--          checkpoint of a namespace that goes entirely, its pointer is counted too
--          description: source, step, milliseconds since 1970, bytes of memory with all writes;
--          each a text, "" where nobody knows
--
-- Other keys it touches, all read-only: checkpoint documents, pointers, registries and write
-- documents of this thread.

--@include include/bytes.lua
--@include include/clock.lua
--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/memory.lua
--@include include/pins.lua
--@include include/policy.lua

layout.use(ARGV[2], ARGV[3])
local thread, cursor, page = ARGV[1], ARGV[4], tonumber(ARGV[5])
local view = ARGV[13] == "0" and index.stored(KEYS[1]) or index.listed(ARGV, 14)
local judged = decide.thread(view, thread, policy.read(ARGV, 7), pins.read(KEYS[2]),
  { settled = true, complete = ARGV[13] == "1", unread = 0, gone = math.huge,
    grace = tonumber(ARGV[6]) })

local function reply_unjudged(where)
  return { "unjudged", "", where[1], where[2] }
end

if judged.unjudged then return reply_unjudged(judged.unjudged) end

local CHUNK = 500

local function existing(keys)
  local found = 0
  for first = 1, #keys, CHUNK do
    local last = math.min(first + CHUNK - 1, #keys)
    found = found + redis.call("EXISTS", unpack(keys, first, last))
  end
  return found
end

local function cost(ns, id)
  local document = redis.call("EXISTS", layout.checkpoint_key(thread, ns, id))
  local writes, shared = layout.writes(layout.names(thread, ns), id)
  local keys = document + existing(writes)
  if not shared then keys = keys + existing({ layout.registry_key(thread, ns, id) }) end
  return document, keys
end

local function is_first_of(kind, ns, id)
  local first = index.first(view, entry.of(kind, ns))
  return first ~= nil and entry.fields(first)[2] == id
end

local function describe(row, ns, id)
  for _, text in ipairs(layout.description(thread, ns, id)) do
    row[#row + 1] = text
  end
  local keys = layout.writes(layout.names(thread, ns), id)
  keys[#keys + 1] = layout.checkpoint_key(thread, ns, id)
  keys[#keys + 1] = layout.registry_key(thread, ns, id)
  row[#row + 1] = tostring(memory.of_all(keys, 1, #keys) or "")
  return row
end

local function row(kind, ns, id)
  local invocation = kind == entry.TASK and not judged.rootless(ns)
  local reasons
  if invocation then
    reasons = judged.invocation(ns)
  else
    reasons = judged.namespace(ns).reasons(id)
  end
  if reasons then return { ns, id, table.concat(reasons, ","), 0, 0 } end
  local documents, keys = cost(ns, id)
  local emptied = invocation or not judged.namespace(ns).stays("\255")
  if emptied and is_first_of(kind, ns, id) then
    keys = keys + existing({ layout.latest_key(thread, ns) })
  end
  return { ns, id, "", documents, keys }
end

local unread = false

-- From `low` to `high`; answers the last member when the page is full.
local function add_rows(reply, kind)
  local low = "[" .. kind
  if cursor ~= "" then
    if string.sub(cursor, 1, 1) > kind then return nil end
    if string.sub(cursor, 1, 1) == kind then low = "(" .. cursor end
  end
  local last
  index.each_up(view, low, "(" .. entry.beyond(kind), function(member)
    unread = unread or entry.is_unread(member)
    if unread then return false end
    local fields = entry.fields(member)
    local previous = reply[#reply]
    if #reply <= 4 or previous[1] ~= fields[1] or previous[2] ~= fields[2] then
      if page == 0 then return false end
      local found = row(kind, fields[1], fields[2])
      if ARGV[12] == "1" then describe(found, fields[1], fields[2]) end
      reply[#reply + 1] = found
      page = page - 1
    end
    last = member
    return true
  end)
  return page == 0 and last or nil
end

local reply = { "plan", "", "", "" }
reply[2] = add_rows(reply, entry.STANDING) or ""
if reply[2] == "" then reply[2] = add_rows(reply, entry.TASK) or "" end
if judged.reading.unjudged then return reply_unjudged(judged.reading.unjudged) end
if unread or judged.reading.short then return { "unread", "", "", "" } end
return reply
