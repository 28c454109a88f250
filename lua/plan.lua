-- Says what a trim would do to one thread, checkpoint by checkpoint, a page at a time. Writes
-- nothing.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), read when no entries are given and the
--                  format does not list its checkpoints by itself
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2]  the saver's checkpoint prefix
-- ARGV[3]  the saver's write prefix
-- ARGV[4]  the index entry that the last page ended with, "" for the first page
-- ARGV[5]  checkpoints to decide about in this call at most, fewer when large ones are described
-- ARGV[6]  milliseconds for which a leaf is retained
-- ARGV[7]… the policy, five values (include/policy.lua)
-- ARGV[12] 1 to describe each checkpoint for people, else 0
-- ARGV[13] 0 to read the index; 1 when the thread's index entries follow, all that there are, in
--          the order of bytes; 2 when they follow and may not be all
-- then     the index entries
--
-- Reply    {state, next, ns, id, {ns, id, reasons, documents, keys, description…}…}
--          state "plan"; or "unsupported" because of checkpoint {ns, id}; or "unread" when the
--          index knows only the names of some: read these, and bring the entries
--          next: what to give as ARGV[4] for the page that follows, "" at the end
--          reasons: parted by commas (include/decide.lua), "" for a checkpoint to delete
--          documents, keys: what deleting it would delete, 0 for one retained; with the first
--          checkpoint of a namespace that is deleted whole, its pointer is counted too
--          description: source, step, milliseconds since 1970, bytes of memory with all writes;
--          each a text, "" where it does not say
--
-- Other keys it touches, all read-only: checkpoint documents, pointers, registries and write
-- documents of this thread.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/lists.lua
--@include include/decide.lua
--@include include/decisions.lua
--@include include/memory.lua
--@include include/pins.lua
--@include include/policy.lua
--@include include/views.lua

local index_key, pins_key, thread = KEYS[1], KEYS[2], ARGV[1]
local cursor, page, grace = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local wanted, describing = policy.read(ARGV, 7), ARGV[12] == "1"
local brought, first_entry = ARGV[13], 14
layout.use(ARGV[2], ARGV[3])

local view = brought == "0" and views.of(index_key, thread)
  or index.listed(ARGV, first_entry, #ARGV)
local decided = decisions.of_thread(view, thread, wanted, pins.read(pins_key, thread),
  { at_end = true, complete = brought == "1", most_unread = 0, most_missing = math.huge,
    grace = grace })

local function reply_unsupported(place)
  return { "unsupported", "", place[1], place[2] }
end

if decided.unsupported then return reply_unsupported(decided.unsupported) end

-- Bytes of memory after which a page ends for which these are measured: to measure a document is to
-- walk it.
local MOST_MEASURED = 4 * 1024 * 1024
local measured = 0

local function existing(keys)
  local found = 0
  lists.in_parts(keys, function(...) found = found + redis.call("EXISTS", ...) end)
  return found
end

local function cost(ns, id)
  if layout.listed then return 1, 1 end
  local document = redis.call("EXISTS", layout.checkpoint_key(thread, ns, id))
  local writes, shared = layout.writes(layout.key_starts(thread, ns), id)
  local keys = document + existing(writes)
  if not shared then keys = keys + existing({ layout.registry_key(thread, ns, id) }) end
  return document, keys
end

local function is_first_of(kind, ns, id)
  local first = index.first(view, entry.of(kind, ns))
  return first ~= nil and entry.fields(first)[2] == id
end

-- The memory of a checkpoint with all that belongs to it, nil where the server does not tell.
local function size_of(ns, id)
  if layout.listed then return layout.size(thread, id) end
  local keys = layout.writes(layout.key_starts(thread, ns), id)
  keys[#keys + 1] = layout.checkpoint_key(thread, ns, id)
  keys[#keys + 1] = layout.registry_key(thread, ns, id)
  return memory.of_all(keys, 1, #keys)
end

local function describe(row, ns, id, size)
  for _, text in ipairs(layout.description(thread, ns, id)) do
    row[#row + 1] = text
  end
  row[#row + 1] = tostring(size or "")
end

local function row(kind, ns, id)
  local invocation = kind == entry.INVOCATION and #decided.roots(ns) > 0
  local reasons
  if invocation then
    reasons = decided.invocation(ns)
  else
    reasons = decide.reasons(decided.namespace(ns), id)
  end
  if reasons then return { ns, id, table.concat(reasons, ","), 0, 0 } end
  local documents, keys = cost(ns, id)
  local emptied = invocation or decided.namespace(ns).deletes_all
  if emptied and is_first_of(kind, ns, id) then
    keys = keys + existing({ layout.latest_key(thread, ns) })
  end
  return { ns, id, "", documents, keys }
end

local last_shown

-- Whether an entry is of one more checkpoint. Its own list may name what is not this thread's.
local function is_shown(kind, ns, id)
  local this = kind .. ns .. "\0" .. id
  if this == last_shown then return false end
  last_shown = this
  return not layout.listed or layout.exists(thread, ns, id)
end

-- The row of a checkpoint as the caller is to see it.
local function shown(kind, ns, id)
  local found = row(kind, ns, id)
  if describing or layout.listed then
    local size = size_of(ns, id)
    measured = measured + (size or 0)
    if describing then describe(found, ns, id, size) end
  end
  if layout.listed then found[2] = layout.name(thread, id) end
  return found
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
    if is_shown(kind, fields[1], fields[2]) then
      if page == 0 then return false end
      reply[#reply + 1] = shown(kind, fields[1], fields[2])
      page = measured < MOST_MEASURED and page - 1 or 0
    end
    last = member
    return true
  end)
  return page == 0 and last or nil
end

local reply = { "plan", "", "", "" }
reply[2] = add_rows(reply, entry.INDEPENDENT) or ""
if reply[2] == "" then reply[2] = add_rows(reply, entry.INVOCATION) or "" end
if decided.reader.unsupported then return reply_unsupported(decided.reader.unsupported) end
if unread or decided.reader.exhausted then return { "unread", "", "", "" } end
return reply
