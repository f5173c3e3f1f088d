// Check a running server by what others wrote: its document against the official meta-schema, then every example in
// the document's order by the coverage tester. Prints {"errors": [...], "calls": [...]} as JSON.
// usage: node check.js http://127.0.0.1:8811

const { parseOpenRPCDocument, validateOpenRPCDocument } = require("@open-rpc/schema-utils-js");
const testCoverage = require("@open-rpc/test-coverage").default;
const WebSocket = require("ws");

const base = process.argv[2];
let socket;
let last = 0;
let key;
const waiting = new Map();

const silent = { onBegin() {}, onTestBegin() {}, onTestEnd() {}, onEnd() {} };

// Methods of one connection go over a WebSocket, all others over HTTP.
async function transport(url, method, params) {
  const request = { jsonrpc: "2.0", id: ++last, method, params };
  if (/^(event\.|session\.(open|get|close))/.test(method)) {
    const answer = new Promise((resolve) => waiting.set(request.id, resolve));
    socket.send(JSON.stringify(request));
    return answer;
  }
  const response = await fetch(base + "/rpc", {
    method: "POST",
    headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify(request),
  });
  const answer = await response.json();
  key = (answer.result && answer.result.key) || key; // of the session that was made: from now on calls need one
  return answer;
}

async function main() {
  const document = await (await fetch(base + "/openrpc.json")).json();
  const valid = validateOpenRPCDocument(document);
  const errors = valid === true ? [] : [String(valid.message)];
  socket = new WebSocket(base.replace("http", "ws") + "/rpc");
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.id !== undefined) waiting.get(message.id)(message);
  });
  const parsed = await parseOpenRPCDocument(document);
  const calls = await testCoverage({
    openrpcDocument: parsed,
    transport,
    reporters: [silent],
    skip: [],
    only: [],
  });
  socket.close();
  const told = calls.map(({ methodName, valid, reason, requestError, error }) => ({
    methodName, valid, reason, error, requestError: requestError && String(requestError),
  }));
  console.log(JSON.stringify({ errors, calls: told }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
