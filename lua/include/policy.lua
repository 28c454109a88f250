-- policy: what to keep, as it comes in ARGV.

--@include include/clock.lua

local policy = {}

-- Five arguments from `at` on, numbers as text, -1 where a rule is not set:
--   keep_last      checkpoints of each namespace that counts by itself, at least 1; -1 for all
--   keep_within    milliseconds
--   keep_runs      runs, 0 for none
--   expire         milliseconds after which an idle thread is deleted
--   expire_waiting 1 when a thread that waits for a human may be deleted too
function policy.read(argv, at)
  return {
    keep_last = tonumber(argv[at]),
    keep_within = tonumber(argv[at + 1]),
    keep_runs = tonumber(argv[at + 2]),
    expire = tonumber(argv[at + 3]),
    expire_waiting = argv[at + 4] == "1",
    -- Most policies do not ask for the time.
    now = clock.now_ms,
  }
end

return policy
