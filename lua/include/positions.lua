-- positions: ids of checkpoints that a storage format lists by itself: where they are in its list,
-- the oldest first. They hold for one call, since a deletion moves what is newer.

local positions = {}

-- The id at a position, counted from 0. Ids are in the order of their bytes.
function positions.id(at)
  return string.format("%010d", at)
end

function positions.of(id)
  return tonumber(id)
end

return positions
