-- Takes entries that no member of the group has got yet, and finds out whether some were trimmed before anybody got them.
-- KEYS: the stream. ARGV: the group; the consumer; entries at most; bytes behind which none is added; the last entry wanted, or "".
-- Answers how many were trimmed, the id of the last entry that was given to anybody, and the entries.
local function as_table(list)
  local told = {}
  for at = 1, #list, 2 do told[list[at]] = list[at + 1] end
  return told
end
-- Numbers of 64 bits are texts here: Lua has fewer.
local function is_less(one, other)
  if #one ~= #other then return #one < #other end
  return one < other
end
local function is_before(one, other)
  local one_time, one_number = string.match(one, '^(%d+)-(%d+)$')
  local other_time, other_number = string.match(other, '^(%d+)-(%d+)$')
  if one_time ~= other_time then return is_less(one_time, other_time) end
  return is_less(one_number, other_number)
end

local group
for _, told in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  told = as_table(told)
  if told.name == ARGV[1] then group = told end
end
if not group then return redis.error_reply('NOGROUP there is no such group') end
local stream = as_table(redis.call('XINFO', 'STREAM', KEYS[1]))
local last = group['last-delivered-id']

-- All that is there is new to the group, so what it has not read and is not there was trimmed.
local trimmed = 0
local first = stream['first-entry']
if not first or is_before(last, first[1]) then
  local gone = stream['entries-added'] - stream.length
  local read = group['entries-read']
  if read ~= gone then
    if read and read < gone then trimmed = gone - read end
    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', gone)
  end
end

local entries, bytes = {}, 0
while #entries < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4])
  and (ARGV[5] == '' or is_before(last, ARGV[5])) do
  local got = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
  if not got then break end
  local entry = got[1][2][1]
  last = entry[1]
  for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  entries[#entries + 1] = entry
end
return {trimmed, last, entries}
