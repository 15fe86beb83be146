-- Makes the group, unless it is there.
-- KEYS: the stream. ARGV: the group; "0" to begin with the first entry there is, "$" with the next one.
-- Answers 1 if it was made.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'stream' then
  for _, told in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for at = 1, #told, 2 do
      if told[at] == 'name' and told[at + 1] == ARGV[1] then return 0 end
    end
  end
end
if ARGV[2] == '$' then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'MKSTREAM')
  return 1
end
-- What was trimmed before there was a group is not missing in it.
local gone = 0
if kind == 'stream' then
  local told, length = redis.call('XINFO', 'STREAM', KEYS[1]), 0
  for at = 1, #told, 2 do
    if told[at] == 'entries-added' then gone = gone + told[at + 1] end
    if told[at] == 'length' then length = told[at + 1] end
  end
  gone = gone - length
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM', 'ENTRIESREAD', gone)
return 1
