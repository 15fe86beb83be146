-- Adds the entries of a batch to their streams and moves the position of their lane, or does neither.
-- KEYS: the positions, then the streams.
-- ARGV: lane; where it has to be, or "" for a lane without a position; its position there; its position behind the batch; entries a
-- stream keeps about, or "0"; then of each entry the number of its stream, how many fields and values it has, and those.
-- Answers {1} when it is done, {0} when the lane is elsewhere, {2, numbers of streams that are none} when nothing was done.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == '' then
  if before then return {0} end
elseif not before or string.match(before, '^{"next":(%d+),') ~= ARGV[2] then
  return {0}
end
local wrong = {2}
for number = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[number]).ok
  if kind ~= 'stream' and kind ~= 'none' then wrong[#wrong + 1] = number - 2 end
end
if #wrong > 1 then return wrong end
-- Changes nothing: a right that is missing shows here, where nothing has been added.
redis.call('HSET', KEYS[1], ARGV[1], before or ARGV[3])
local added = {}
local at = 6
while at < #ARGV do
  local stream, fields = KEYS[tonumber(ARGV[at]) + 2], tonumber(ARGV[at + 1])
  local first, last = at + 2, at + 1 + fields
  local id
  if ARGV[5] == '0' then
    id = redis.pcall('XADD', stream, '*', unpack(ARGV, first, last))
  else
    id = redis.pcall('XADD', stream, 'MAXLEN', '~', ARGV[5], '*', unpack(ARGV, first, last))
  end
  if type(id) == 'table' and id.err then
    for _, entry in ipairs(added) do redis.call('XDEL', entry[1], entry[2]) end
    return id
  end
  added[#added + 1] = {stream, id}
  at = last + 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return {1}
