-- lists: long lists, worked off in parts. `unpack` fails past some thousands of values.

local lists = {}

local PART = 500

-- Calls `run(...)` with the items of a list, some hundred at a time.
function lists.in_parts(list, run)
  for first = 1, #list, PART do
    run(unpack(list, first, math.min(first + PART - 1, #list)))
  end
end

-- The sum of what a command answers about all keys of a list.
function lists.total(command, keys)
  local total = 0
  lists.in_parts(keys, function(...) total = total + redis.call(command, ...) end)
  return total
end

return lists
