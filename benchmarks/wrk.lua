-- For wrk: posts the lines of a file in turn, and prints the results as a line of JSON.
--   wrk ... -s wrk.lua URL -- FILE

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  bodies, position, statuses = {}, 0, {}
  for line in io.lines(arguments[1]) do
    table.insert(bodies, wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line))
  end
end

function request()
  position = position % #bodies + 1
  return bodies[position]
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  local counts = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      counts[status] = (counts[status] or 0) + count
    end
  end
  local parts = {}
  for status, count in pairs(counts) do
    table.insert(parts, string.format('"%d": %d', status, count))
  end
  local errors = summary.errors
  print(string.format(
    'RESULT {"seconds": %f, "p50": %f, "p95": %f, "p99": %f, "statuses": {%s}, "connection_errors": %d, "timeouts": %d}',
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    table.concat(parts, ", "), errors.connect + errors.read + errors.write, errors.timeout))
end
