-- headers: reads, while a thread is decided, the headers of checkpoints that its index does not
-- know, or knows by name only.

--@include layouts/${layout}.lua
--@include include/entry.lua
--@include include/index.lua
--@include include/evidence.lua

local headers = {}

-- A reader of at most `most` documents whose entries are unread.
--   found        {[unread entry] = {its entries}}: what the index should say instead
--   unsupported  {ns, id} of a checkpoint that this version does not understand
--   exhausted    true when there are more unread ones than a call may read: the decision is void
function headers.reader(thread, most)
  local self, ahead = { found = {}, unsupported = nil, exhausted = false }, {}

  -- Reads together those of some root checkpoints for which that can be done.
  function self.read_ahead(members)
    local ids = {}
    for _, member in ipairs(members) do
      if #ids < most and entry.is_unread(member) then
        ids[#ids + 1] = entry.id(member, evidence.ROOT.prefix)
      end
    end
    if #ids > 0 then ahead = layout.simple_headers(thread, ids) end
  end

  -- What a checkpoint needs, by its own document; `member` is its unread entry, if it has one.
  function self.needs(ns, id, member)
    if member and most == 0 then
      self.exhausted = true
      return nil
    end
    if member then most = most - 1 end
    local header = member and ahead[id] or layout.header(layout.checkpoint_key(thread, ns, id))
    local mine = header and header.thread == thread
    if mine and header.unsupported then self.unsupported = { ns, id } end
    local members = mine and entry.members(header) or {}
    if member then self.found[member] = members end
    return mine and entry.needs(entry.fields(members[1])) or nil
  end

  return self
end

-- Calls `visit(id, needs)` for each retained checkpoint that needs something of its ancestors:
-- those from `floor` on, and `ids`, which may be anywhere.
function headers.each_needs(view, reader, namespace, floor, ids, visit)
  local prefix, known = namespace.prefix, {}

  local function visit_entry(member)
    local id, plain = entry.id(member, prefix)
    known[id] = true
    if plain then return true end
    local needs
    if entry.is_unread(member) then
      needs = reader.needs(namespace.ns, id, member)
    else
      needs = entry.needs(entry.fields(member))
    end
    if needs then visit(id, needs) end
    return not reader.exhausted
  end

  index.each_page_up(view, "[" .. prefix .. floor, index.past(prefix), function(members)
    local page, plain = entry.ids(members, prefix)
    if plain then
      for at = 1, #page do known[page[at]] = true end
      return true
    end
    reader.read_ahead(members)
    for at = 1, #members do
      if not visit_entry(members[at]) then return false end
    end
    return true
  end)
  for _, id in ipairs(ids) do
    local members = known[id] and {} or index.members_of(view, namespace.kind, namespace.ns, id)
    for _, member in ipairs(members) do visit_entry(member) end
    local needs = not known[id] and reader.needs(namespace.ns, id)
    if needs then visit(id, needs) end
  end
end

-- Reads all unread checkpoints of the root namespace. If there are any, the decision is left to
-- the next call: it asks the index where runs begin.
function headers.read_all(view, reader)
  local any, prefix = false, evidence.ROOT.prefix
  index.each_page_up(view, "[" .. prefix, index.past(prefix), function(members)
    reader.read_ahead(members)
    for _, member in ipairs(members) do
      if entry.is_unread(member) then
        reader.needs("", (entry.id(member, prefix)), member)
        any = true
      end
      if reader.exhausted then return false end
    end
    return true
  end)
  reader.exhausted = any
end

return headers
