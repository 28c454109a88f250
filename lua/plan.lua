-- Says what a trim would do to one thread, checkpoint by checkpoint, a page at a time. Writes
-- nothing.
--
-- KEYS[1]  zset    the thread's index (include/entry.lua), read when no entries are given and the
--                  format does not list its checkpoints by itself
-- KEYS[2]  hash    the thread's pins (include/pins.lua)
--
-- ARGV[1]  the thread, as it stands in the keys
-- ARGV[2], ARGV[3]  what layout.use takes (layouts/README.md)
-- ARGV[4]  the index entry that the last page ended with, "" for the first page
-- ARGV[5]  checkpoints to decide about in this call at most; less in many namespaces
-- ARGV[6]  milliseconds for which a leaf is retained
-- ARGV[7]… the policy, five values (include/policy.lua)
-- ARGV[12] 0 to read the index; 1 when the thread's index entries follow, all that there are, in
--          the order of bytes; 2 when they follow and may not be all
-- then     the index entries
--
-- Reply    {state, next, ns, id, {ns, id, reasons, deleted}…}
--          state "plan"; or "unsupported" because of checkpoint {ns, id}; or "unread" when the
--          index knows only the names of some: read these, and bring the entries
--          next: what to give as ARGV[4] for the page that follows, "" at the end
--          reasons: parted by commas (include/decide.lua), "" for a checkpoint to delete
--          deleted: what deleting it deletes, as describe.lua takes it: "" for one retained,
--          "pointer" for the first checkpoint of a namespace that is deleted whole, else
--          "checkpoint"
--
-- Other keys it touches, all read-only: checkpoint documents, pointers, registries and write
-- documents of this thread.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/decide.lua
--@include include/decisions.lua
--@include include/pins.lua
--@include include/policy.lua

local index_key, pins_key, thread = KEYS[1], KEYS[2], ARGV[1]
local cursor, page, grace = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local wanted, brought, first_entry = policy.read(ARGV, 7), ARGV[12], 13
layout.use(ARGV[2], ARGV[3])

local view = brought == "0" and index.view(index_key, thread)
  or index.listed(ARGV, first_entry, #ARGV)
local decided = decisions.of_thread(view, thread, wanted, pins.read(pins_key, thread),
  { at_end = true, complete = brought == "1", most_unread = 0, most_missing = math.huge,
    grace = grace, again = cursor ~= "" })

local function reply_unsupported(place)
  return { "unsupported", "", place[1], place[2] }
end

if decided.unsupported then return reply_unsupported(decided.unsupported) end

local function is_first_of(kind, ns, id)
  local first = index.first(view, entry.of(kind, ns))
  return first ~= nil and entry.fields(first)[2] == id
end

-- To decide about a namespace costs as much as so many more rows.
local OF_NAMESPACE = 5
local last_decided, invocation, its_reasons

-- An invocation is retained or deleted as a whole.
local function decide_namespace(kind, ns)
  invocation = kind == entry.INVOCATION and #decided.roots(ns) > 0
  its_reasons = invocation and decided.invocation(ns) or nil
  last_decided, page = kind .. ns, page - OF_NAMESPACE
end

local function row(kind, ns, id)
  if kind .. ns ~= last_decided then decide_namespace(kind, ns) end
  local reasons = its_reasons
  if not invocation then reasons = decide.reasons(decided.namespace(ns), id) end
  if reasons then return { ns, id, table.concat(reasons, ","), "" } end
  local emptied = invocation or decided.namespace(ns).deletes_all
  return { ns, id, "", emptied and is_first_of(kind, ns, id) and "pointer" or "checkpoint" }
end

local last_shown

-- Whether an entry is of one more checkpoint. Its own list may name what is not this thread's.
local function is_shown(kind, ns, id)
  local this = kind .. ns .. "\0" .. id
  if this == last_shown then return false end
  last_shown = this
  return not layout.listed or layout.exists(thread, ns, id)
end

-- Bytes of checkpoints after which a page ends that have to be read to be named.
local MOST_NAMED = 4 * 1024 * 1024
local named = 0

-- The row of a checkpoint, by the name that people know.
local function shown(kind, ns, id)
  local found = row(kind, ns, id)
  if layout.listed then
    found[2], named = layout.name(thread, id), named + layout.size(thread, id)
  end
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
      if page <= 0 then return false end
      reply[#reply + 1] = shown(kind, fields[1], fields[2])
      page = named < MOST_NAMED and page - 1 or 0
    end
    last = member
    return true
  end)
  return page <= 0 and last or nil
end

local reply = { "plan", "", "", "" }
reply[2] = add_rows(reply, entry.INDEPENDENT) or ""
if reply[2] == "" then reply[2] = add_rows(reply, entry.INVOCATION) or "" end
if decided.reader.unsupported then return reply_unsupported(decided.reader.unsupported) end
if unread or decided.reader.exhausted then return { "unread", "", "", "" } end
return reply
