-- ARGV: now, id, text
call('PUBLISH', 'herolog:' .. q .. ':' .. ARGV[2], ARGV[3])
return 1
