-- json_documents: reads the documents of a saver with JSON commands.

local json_documents = {}

-- Documents that one command reads at most.
local CHUNK = 500

-- A call that answers nil where the key is missing or holds something of another type.
function json_documents.quietly(...)
  local reply = redis.pcall(...)
  if type(reply) ~= "table" or not reply.err then return reply or nil end
  if string.find(reply.err, "[Ww][Rr][Oo][Nn][Gg]") then return nil end
  error(reply)
end

function json_documents.decoded(text)
  local ok, value = pcall(cjson.decode, text)
  if ok and type(value) == "table" then return value end
  return nil
end

-- The values at `paths`, nil when there is no document. For one path alone JSON.GET answers
-- without its name.
function json_documents.read(key, paths)
  local text = json_documents.quietly("JSON.GET", key, unpack(paths))
  local found = text and json_documents.decoded(text)
  if not found then return nil end
  if #paths == 1 then return { found[1] } end
  local values = {}
  for at = 1, #paths do
    local matches = found[paths[at]]
    values[at] = type(matches) == "table" and matches[1] or nil
  end
  return values
end

-- The names in the object at a path, as {[name] = true}, and whether there are any.
function json_documents.names_at(key, path)
  local reply = json_documents.quietly("JSON.OBJKEYS", key, path)
  local names, any = {}, false
  for _, name in ipairs(type(reply) == "table" and reply[1] or {}) do
    names[name], any = true, true
  end
  return names, any
end

-- The length of the array at a path, nil where there is none.
function json_documents.length_at(key, path)
  local reply = json_documents.quietly("JSON.ARRLEN", key, path)
  return type(reply) == "table" and tonumber(reply[1]) or nil
end

-- Calls `visit(name, reply)` with what JSON.MGET says of each document; `start` is what their keys
-- begin with, before the name. Thousands of documents are read like this.
function json_documents.each_reply(start, names, path, visit)
  for first = 1, #names, CHUNK do
    local last = math.min(first + CHUNK - 1, #names)
    local call = { "JSON.MGET", unpack(names, first, last) }
    local count = last - first + 1
    if start ~= "" then
      for at = 2, count + 1 do call[at] = start .. call[at] end
    end
    call[count + 2] = path
    local replies = redis.call(unpack(call))
    for at = 1, count do
      visit(names[first + at - 1], replies[at])
    end
  end
end

-- How a document states the root namespace.
local ROOT = "__empty__"

function json_documents.read_ns(stated)
  return stated == ROOT and "" or stated
end

-- The thread, namespace and id that a document states; nil for a stub and for what is no document.
function json_documents.stated_fields(key)
  local values = json_documents.read(key, { "$.thread_id", "$.checkpoint_ns", "$.checkpoint_id" })
  if not values then return nil end
  local thread, ns, id = values[1], values[2], values[3]
  if type(thread) ~= "string" or type(ns) ~= "string" or type(id) ~= "string" then return nil end
  return thread, json_documents.read_ns(ns), id
end

return json_documents
