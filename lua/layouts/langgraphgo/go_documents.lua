-- go_documents: what the documents of langgraphgo say.
--
-- A document is the JSON of {id, node_name, state, metadata, timestamp, version}, in this order.
-- The state may be large, so only the end is read, if that will do.

local go_documents = {}

-- Bytes of the end of a document that most often hold all behind the state.
local TAIL = 2048
local MARK = ',"metadata":'
-- Days before each month, in a year that begins in March.
local DAYS_BEFORE = { [3] = 0, [4] = 31, [5] = 61, [6] = 92, [7] = 122, [8] = 153, [9] = 184,
  [10] = 214, [11] = 245, [12] = 275, [1] = 306, [2] = 337 }
local DAYS_TO_1970 = 719468

local find, sub = string.find, string.sub

local start

function go_documents.use(prefix) start = prefix .. "checkpoint:" end

local function decoded(text)
  local ok, value = pcall(cjson.decode, text)
  return ok and type(value) == "table" and value or nil
end

-- What stands behind the state, as an object. It is one only if the mark is not within another
-- object: then a brace would be left over.
local function end_of(text)
  local at, last = find(text, MARK, 1, true), nil
  while at do
    last, at = at, find(text, MARK, at + 1, true)
  end
  return last and decoded("{" .. sub(text, last + 1))
end

local function days(year, month, day)
  if month < 3 then year = year - 1 end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + DAYS_BEFORE[month] + day - 1 - DAYS_TO_1970
end

-- Milliseconds since 1970 of a time as Go writes it (RFC 3339), nil for anything else.
local function read_time(text)
  if type(text) ~= "string" then return nil end
  local year, month, day, hour, minute, second, zone =
    string.match(text, "^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d%.?%d*)(.+)$")
  if not year or not DAYS_BEFORE[tonumber(month)] then return nil end
  local sign, hours, minutes = string.match(zone, "^([+-])(%d%d):(%d%d)$")
  if zone ~= "Z" and not sign then return nil end
  local east = sign and (sign == "+" and 1 or -1) * (hours * 60 + minutes) or 0
  local minutes_since = (days(tonumber(year), tonumber(month), tonumber(day)) * 24 + hour) * 60
    + minute - east
  return minutes_since * 60000 + math.floor(second * 1000)
end

local function text_or_nil(value)
  return type(value) == "string" and value ~= "" and value or nil
end

local function read(id)
  local key = start .. id
  local tail = redis.pcall("GETRANGE", key, -TAIL, -1)
  if type(tail) ~= "string" then return {} end
  if tail == "" and redis.call("EXISTS", key) == 0 then return false end
  local object = end_of(tail) or decoded(redis.call("GET", key))
  if not object then return {} end
  local metadata = type(object.metadata) == "table" and object.metadata or {}
  return { thread = text_or_nil(metadata.thread_id), execution = text_or_nil(metadata.execution_id),
    version = tonumber(object.version), made_at = read_time(object.timestamp) }
end

local known = {}

-- What the document of a checkpoint says: {thread =, execution =, version =, made_at = ms}, each
-- nil where it does not say or cannot be read; false without a document.
function go_documents.read(id)
  if known[id] == nil then known[id] = read(id) end
  return known[id]
end

-- The bytes of a document.
function go_documents.size(id)
  local length = redis.pcall("STRLEN", start .. id)
  return type(length) == "number" and length or 0
end

-- Deletes a document; how many that were.
function go_documents.delete(id)
  known[id] = nil
  return redis.call("UNLINK", start .. id)
end

return go_documents
