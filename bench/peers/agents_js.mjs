// SPDX-License-Identifier: Apache-2.0
// The same work with OpenAI's Agents SDK for JavaScript: lines "sample CASE SIDE VALUE" like those
// of bench/*.c, for the server at OPENAI_BASE_URL (bench/mockmodel).
//
//   node --expose-gc agents_js.mjs turns N | deltas N | beside N     (PEER_JS: a folder with node_modules)
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const from = createRequire(path.join(process.env.PEER_JS, "x.js"));
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { Agent, run: start, tool, setTracingDisabled } = await load("@openai/agents");
const { z } = await load("zod");
setTracingDisabled(true);

const add = tool({
  name: "add",
  description: "Adds two integers.",
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => String(a + b),
});
const agent = (model) =>
  new Agent({ name: "adder", instructions: "You add numbers with the tool and say the sum.", model, tools: [add] });
const sample = (name, value) => console.log(`sample ${name} js ${+value.toFixed(6)}`);
const cpuMs = () => {
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e3;
};
const memoryKib = (key) =>
  Number(/(\d+)/.exec(readFileSync("/proc/self/status", "utf8").split("\n").find((line) => line.startsWith(key)))[1]);

async function run(model, replies) {
  const done = await start(agent(model), "Add.", { maxTurns: 1000000 });
  if (done.rawResponses.length !== replies) throw new Error(`${done.rawResponses.length} replies`);
}

const cases = {
  async turns(n) {
    await run("tools-3", 4);
    globalThis.gc?.();
    const began = performance.now(), cpu = cpuMs();
    await run(`tools-${n}`, n + 1);
    sample(`plain-${n}`, ((cpuMs() - cpu) * 1e3) / (n + 1));
    sample(`plain-${n}-wall`, ((performance.now() - began) * 1e3) / (n + 1));
  },
  async deltas(n) {
    for (const size of [100, n]) {
      const cpu = cpuMs();
      let seen = 0;
      const stream = await start(agent(`stream-${size}`), "Go.", { stream: true });
      for await (const event of stream)
        if (event.type === "raw_model_stream_event" && event.data.type === "output_text_delta") seen++;
      await stream.completed;
      if (seen !== size) throw new Error(`${seen} deltas`);
      if (size === n) sample("deltas", ((cpuMs() - cpu) * 1e3) / n);
    }
  },
  async beside(n) {
    await run("tools-3", 4);
    globalThis.gc?.();
    const memory = memoryKib("VmRSS:"), began = performance.now(), cpu = cpuMs();
    await Promise.all(Array.from({ length: n }, () => run("tools-10@50ms", 11)));
    sample("peer-rate", (n * 1e3) / (performance.now() - began));
    sample("peer-cpu", (cpuMs() - cpu) / n);
    sample("peer-kib", (memoryKib("VmHWM:") - memory) / n);
  },
};
await cases[process.argv[2]](Number(process.argv[3]));
process.exit(0);
