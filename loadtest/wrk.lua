-- One fixed request for every connection, or those of a pool in turn, and a last line that a
-- program can read.
-- BODY: file with the request's bytes. HEADERS: one "Name: value" per line.
-- POOL: file with whole requests, each after a line that tells its length.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
for name, value in os.getenv("HEADERS"):gmatch("([^\n:]+): ([^\n]+)") do
  wrk.headers[name] = value
end

if os.getenv("POOL") then
  local pool, size, at = {}, 0, 0
  local stored = assert(io.open(os.getenv("POOL"), "rb"))
  for length in function() return stored:read("*l") end do
    size = size + 1
    pool[size] = stored:read(tonumber(length))
  end
  stored:close()
  function request()
    at = at % size + 1
    return pool[at]
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
