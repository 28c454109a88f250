-- beside: whether a thread is known in other storage formats, too. `redis_retention/scripts.py`
-- puts it around a script, which then has more arguments at the end of ARGV: names of keys, and how
-- many these are. Its reply has one more value: {names that exist}, {names it cannot read}.

local beside = {}

-- The names, which are taken off the arguments.
function beside.take(arguments)
  local names = {}
  for _ = 1, tonumber(table.remove(arguments)) do
    names[#names + 1] = table.remove(arguments)
  end
  return names
end

-- The reply of the script with what was found. Neither a user without a permission nor a cluster
-- must fail because of a key of another format.
function beside.add(reply, names)
  local existing, forbidden = {}, {}
  for _, name in ipairs(names) do
    local found = redis.pcall("EXISTS", name)
    if type(found) == "table" then
      forbidden[#forbidden + 1] = name
    elseif found == 1 then
      existing[#existing + 1] = name
    end
  end
  reply[#reply + 1] = { existing, forbidden }
  return reply
end

return beside
