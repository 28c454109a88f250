-- trim_rows: what a call that trims several threads replies of each.

local trim_rows = {}

-- Bytes of a thread id: the same as in Python.
local LONGEST_THREAD = 4096

-- Adds a thread's row to the reply: {thread, state, checkpoints, keys, left, bytes} of what
-- `trim(thread)` has done, none if that answers nil. An error in one thread keeps no other from
-- being trimmed: its row is {thread, "refused", what the server says}.
function trim_rows.add(reply, thread, trim)
  local ok, result
  if #thread > LONGEST_THREAD then
    ok, result = false, "the id of the thread is too long"
  else
    ok, result = pcall(trim, thread)
  end
  if not ok then
    local text = type(result) == "table" and result.err or tostring(result)
    reply[#reply + 1] = { thread, "refused", text }
  elseif result then
    reply[#reply + 1] =
      { thread, result.state, result.checkpoints, result.keys, result.left, result.bytes }
  end
end

return trim_rows
