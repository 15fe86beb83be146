-- Removes members of the group that hold nothing.
-- KEYS: the stream. ARGV: the group; the member, or "" for any; for how many milliseconds it has to have been silent.
for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local member = {}
  for at = 1, #told, 2 do member[told[at]] = told[at + 1] end
  local is_meant = ARGV[2] == '' or ARGV[2] == member.name
  if is_meant and member.pending == 0 and member.idle >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], member.name)
  end
end
return 0
