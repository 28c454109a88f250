-- rule_list: which policy counts for a thread, and when it is to be trimmed.

--@include include/glob.lua
--@include include/policy.lua

local rule_list = {}

-- Values of one rule among the arguments: a pattern for the thread (include/glob.lua), the trigger
-- (checkpoints of one namespace, -1 for none) and the policy, five values (include/policy.lua).
local VALUES = 7

-- A function that answers the rule for a thread, the first of `count` whose pattern matches:
-- {trigger =, policy =}. They stand in `arguments` from `first` on. And where what follows begins.
function rule_list.read(arguments, first, count)
  local patterns, past = {}, first + VALUES * count

  local function rule_for(thread)
    for at = first, past - 1, VALUES do
      patterns[at] = patterns[at] or glob.parse(arguments[at])
      if glob.matches(patterns[at], thread) then
        return { trigger = tonumber(arguments[at + 1]), policy = policy.read(arguments, at + 2) }
      end
    end
    return { trigger = -1 }
  end

  return rule_for, past
end

return rule_list
