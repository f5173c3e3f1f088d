// A worker in another language: it leases jobs over HTTP, runs them, and says how they ended.
// Its jobs hold JSON such as {"op": "add", "args": [2, 3]}. Keep its queue to itself: WatchDogs leave alone what
// the setting `foreign_topics` lists.
//
//   herojobs serve
//   node examples/worker_in_node.mjs http://127.0.0.1:8811 sums/node
//
// HEROJOBS_SESSION_KEY is its session key, where sessions were made (role operator). Ctrl-C ends it after its job.

const [url = "http://127.0.0.1:8811", ...queues] = process.argv.slice(2);
const LEASE = 15; // seconds

async function call(method, params) {
  const response = await fetch(`${url}/rpc`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(process.env.HEROJOBS_SESSION_KEY && { authorization: `Bearer ${process.env.HEROJOBS_SESSION_KEY}` }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const answer = await response.json();
  if (answer.error) throw new Error(`${answer.error.code} ${answer.error.message}`);
  return answer.result;
}

const operations = {
  add: async (args, signal) => args.reduce((sum, each) => sum + each, 0),
  wait: (args, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(`waited ${args[0]} s`), args[0] * 1000);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(new Error("stopped"));
      });
    }),
};

async function run({ ref, token, job }) {
  const stop = new AbortController();
  const keeper = setInterval(async () => {
    try {
      const { lost, cancelled } = await call("worker.extend", { leases: [{ ref, token }], lease: LEASE });
      if (lost.length || cancelled.length) stop.abort();
    } catch (error) {
      console.error(String(error)); // the lease lasts for a while; the next try may come through
    }
  }, (LEASE / 30) * 1000);
  let end;
  try {
    const { op, args } = JSON.parse(job.params);
    if (!operations[op]) throw new Error(`no operation ${op}`);
    end = { result: String(await operations[op](args, stop.signal)) };
  } catch (error) {
    end = { error: error.message };
  }
  clearInterval(keeper);
  const [counts] = await call("worker.finish", { results: [{ ref, token, ...end }] });
  console.log(`${ref}: ${end.error ?? end.result}${counts ? "" : " (not ours any more)"}`);
}

let going = true;
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => (going = false));
console.log("ready");
while (going) {
  try {
    const claimed = await call("worker.claim", { queues, n: 1, lease: LEASE, wait: 1 });
    for (const job of claimed) await run(job);
  } catch (error) {
    console.error(String(error));
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
