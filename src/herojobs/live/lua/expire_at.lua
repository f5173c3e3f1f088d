-- Notes when waiting jobs expire.
-- ARGV: now, then for each job: id, unix ms
for i = 2, #ARGV, 2 do call('ZADD', expire, ARGV[i + 1], ARGV[i]) end
return 1
