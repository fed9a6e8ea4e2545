-- The closed loop: posts the files of a list in turn and checks each answer.
--
-- Each line of the list: method, path, file of the body, headers, then what the answer must hold, a
-- name and a label, separated by tabs; a header is `Name: value`, with `|` between two. An empty
-- name: nothing is looked for.

local requests, labels = {}, {}
local turn = 0
right, wrong, refused = 0, 0, 0
sample = ""

local function read(path)
   local file = assert(io.open(path, "rb"))
   local data = file:read("*a")
   file:close()
   return data
end

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   for line in io.lines(args[1]) do
      local method, path, file, told, name, label =
         line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.-)\t(.-)$")
      local body = file ~= "" and read(file) or nil
      local headers = {}
      for key, value in told:gmatch("([^|]-): ([^|]+)") do headers[key] = value end
      table.insert(requests, wrk.format(method, path, headers, body))
      if name ~= "" then labels[name] = label end
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function response(status, headers, body)
   if status == 429 or status == 503 then
      refused = refused + 1
      return
   end
   local good = status < 300
   if good and next(labels) then
      local plain = body:gsub("\\", "")
      local name = plain:match('"image"%s*:%s*"[^"]-(photo%-%w+%.jpg)"')
      local label = plain:match('"label"%s*:%s*"([^"]*)"')
      good = name ~= nil and labels[name] == label
   end
   if good then
      right = right + 1
   else
      wrong = wrong + 1
      sample = (status .. " " .. body):sub(1, 200):gsub('[%c"\\]', " ")
   end
end

function done(summary, latency, _)
   local sums = { right = 0, wrong = 0, refused = 0 }
   local seen = ""
   for _, thread in ipairs(threads) do
      for key in pairs(sums) do sums[key] = sums[key] + thread:get(key) end
      seen = thread:get("sample")
   end
   local errors = summary.errors
   io.write(string.format(
      '\n{"seconds": %f, "right": %d, "wrong": %d, "refused": %d, "broken": %d, "timeouts": %d,'
         .. ' "p50": %f, "p90": %f, "p99": %f, "sample": "%s"}\n',
      summary.duration / 1e6, sums.right, sums.wrong, sums.refused,
      errors.connect + errors.read + errors.write, errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, seen
   ))
end
