-- Sends a body whose places for addresses are filled anew for every request, and tells the result as JSON.
-- wrk -s load.lua URL -- BODY_FILE SEED; with BODY_FILE "-" it is a GET.

local BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  if args[1] == "-" then
    texts, kinds, parts = {wrk.format("GET")}, {}, {}
    return
  end
  local file = assert(io.open(args[1], "rb"))
  local body = file:read("*a")
  file:close()

  -- Who sends: the run by its seed, and the thread. No two of them have an address in common.
  local seed = tonumber(args[2])
  evm_sender = string.format("0xf%012x%03x", seed, number)
  solana_sender = "z" .. in_base58(seed, 24) .. in_base58(number, 2)
  counter = 0

  local bare = body:gsub("<EVM>", string.rep("0", 42)):gsub("<SOLANA>", string.rep("0", 43))
  local head = string.format(
    "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
      .. "Content-Length: %d\r\n\r\n",
    wrk.path, wrk.host, wrk.port, #bare
  )
  texts, kinds = {}, {}
  local start = 1
  for before, kind, after in body:gmatch("()<(%u+)>()") do
    texts[#texts + 1] = body:sub(start, before - 1)
    kinds[#kinds + 1] = kind
    start = after
  end
  texts[#texts + 1] = body:sub(start)
  texts[1] = head .. texts[1]
  parts = {}
end

function in_base58(value, width)
  local digits = {}
  for place = width, 1, -1 do
    local digit = value % 58
    digits[place] = BASE58:sub(digit + 1, digit + 1)
    value = (value - digit) / 58
  end
  return table.concat(digits)
end

function request()
  for index = 1, #kinds do
    counter = counter + 1
    parts[2 * index - 1] = texts[index]
    if kinds[index] == "EVM" then
      parts[2 * index] = evm_sender .. string.format("%024x", counter)
    else
      parts[2 * index] = solana_sender .. in_base58(counter, 16)
    end
  end
  parts[2 * #kinds + 1] = texts[#texts]
  return table.concat(parts)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
