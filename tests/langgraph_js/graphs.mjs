// Real graphs of LangGraph.js on its RedisSaver, driven by lines of JSON: a command on standard
// input, its answer on standard output. After the saver has written something, and in the middle of
// a put, the program says so and waits until it is told to go on: so a test can trim there.

import { createInterface } from "node:readline";
import {
  Annotation,
  Command,
  DeltaChannel,
  END,
  START,
  Send,
  StateGraph,
  entrypoint,
  getPreviousState,
  interrupt,
  task,
} from "@langchain/langgraph";
import { RedisSaver } from "@langchain/langgraph-checkpoint-redis";
import { ShallowRedisSaver } from "@langchain/langgraph-checkpoint-redis/shallow";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value ?? '{"do":"end"}');
const write = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

// --- what the saver does, step by step -------------------------------------------------------

let pausing = false;

async function pause(what) {
  if (!pausing) return;
  write({ paused: what });
  await read();
}

// LangGraph does not wait for one call before the next. Writes that overtake the put of their
// checkpoint are hidden by the saver: here each call waits for the one before.
class Saver extends RedisSaver {
  last = Promise.resolve();

  inTurn(call) {
    const mine = this.last.then(call);
    this.last = mine.catch(() => {});
    return mine;
  }

  // The indexes are made once: each put would try again.
  async ensureIndexes() {
    if (this.indexed) return;
    this.indexed = true;
    await super.ensureIndexes();
  }

  put(...given) {
    return this.inTurn(async () => {
      const put = await super.put(...given);
      await pause("put");
      return put;
    });
  }

  putWrites(...given) {
    return this.inTurn(async () => {
      await super.putWrites(...given);
      await pause("writes");
    });
  }
}

async function connect(port) {
  const saver = await Saver.fromUrl(`redis://127.0.0.1:${port}`);
  const own = new Saver(saver.client);
  const json = own.client.json;
  const set = json.set.bind(json);
  // Between the blobs of a put and its document.
  json.set = async (key, ...rest) => {
    if (key.startsWith("checkpoint:")) await pause("document");
    return set(key, ...rest);
  };
  return own;
}

// --- the graphs --------------------------------------------------------------------------------

const runs = {};

// A node that counts how often it has run, in each thread.
const counted = (name, run) => async (state, config) => {
  const key = `${config.configurable.thread_id} ${name}`;
  const update = await run(state, config);
  runs[key] = (runs[key] ?? 0) + 1;
  return update;
};

const list = () => Annotation({ reducer: (a, b) => a.concat(b), default: () => [] });

function chat(checkpointer) {
  const State = Annotation.Root({ messages: list(), profile: Annotation(), turns: Annotation() });
  return new StateGraph(State)
    .addNode("greet", counted("greet", (s) => (s.profile ? {} : { profile: s.messages[0] })))
    .addNode("model", counted("model", (s) => ({
      messages: [`to ${s.profile}: ${s.messages.length}`],
      turns: (s.turns ?? 0) + 1,
    })))
    .addEdge(START, "greet")
    .addEdge("greet", "model")
    .addEdge("model", END)
    .compile({ checkpointer });
}

function subgraphs(checkpointer) {
  const State = Annotation.Root({ log: list() });
  const inner = (name) => new StateGraph(State)
    .addNode("first", counted(`${name}.first`, () => ({ log: [`${name} 1`] })))
    .addNode("second", counted(`${name}.second`, () => ({ log: [`${name} 2`] })))
    .addEdge(START, "first")
    .addEdge("first", "second");
  const Own = Annotation.Root({ heard: list() });
  const memory = new StateGraph(Own)
    .addNode("note", counted("memory.note", (s) => ({ heard: [s.heard.length] })))
    .addEdge(START, "note")
    .compile({ checkpointer: true });
  return new StateGraph(State)
    .addNode("once", inner("once").compile())
    .addNode("memory", async (s, config) => {
      const noted = await memory.invoke({ heard: ["again"] }, config);
      return { log: [noted.heard.length] };
    })
    .addEdge(START, "once")
    .addEdge("once", "memory")
    .compile({ checkpointer });
}

function approval(checkpointer) {
  const State = Annotation.Root({ log: list(), kept: Annotation() });
  const inner = new StateGraph(State)
    .addNode("prepare", counted("inner.prepare", () => ({ log: ["prepared"] })))
    .addNode("ask", counted("inner.ask", () => ({ log: [interrupt("inside?")] })))
    .addEdge(START, "prepare")
    .addEdge("prepare", "ask")
    .compile();
  return new StateGraph(State)
    .addNode("plan", counted("plan", (s) => ({ log: ["planned"], kept: s.kept ?? "kept" })))
    .addNode("ask", counted("ask", () => {
      const first = interrupt("first?");
      return { log: [first, interrupt("second?")] };
    }))
    .addNode("inner", inner)
    .addNode("act", counted("act", () => ({ log: ["acted"] })))
    .addEdge(START, "plan")
    .addEdge("plan", "ask")
    .addEdge("ask", "inner")
    .addEdge("inner", "act")
    .compile({ checkpointer });
}

function tools(checkpointer) {
  const State = Annotation.Root({ calls: list(), results: list() });
  return new StateGraph(State)
    .addNode("model", counted("model", (s) => ({ calls: [s.results.length] })))
    .addNode("tool", counted("tool", ({ number }) => ({
      results: [number === 2 ? interrupt("may I?") : number],
    })))
    .addEdge(START, "model")
    .addConditionalEdges("model", (s) => (s.results.length >= 8
      ? END : [0, 1, 2, 3].map((number) => new Send("tool", { number }))), ["tool", END])
    .addEdge("tool", "model")
    .compile({ checkpointer });
}

function delta(checkpointer) {
  const State = Annotation.Root({
    items: new DeltaChannel((have, writes) => have.concat(...writes), { snapshotFrequency: 4 }),
    steps: Annotation(),
  });
  return new StateGraph(State)
    .addNode("add", counted("add", (s) => ({ items: [`item ${s.items.length}`] })))
    .addNode("count", counted("count", (s) => ({ steps: s.items.length })))
    .addEdge(START, "add")
    .addEdge("add", "count")
    .compile({ checkpointer });
}

function functional(checkpointer) {
  const step = (name, run) => task(name, async (thread, ...given) => {
    runs[`${thread} ${name}`] = (runs[`${thread} ${name}`] ?? 0) + 1;
    return run(...given);
  });
  const draft = step("draft", (text) => `draft of ${text}`);
  const polish = step("polish", (text, answer) => `${text}, ${answer}`);
  return entrypoint({ name: "essay", checkpointer }, async ({ text, thread }) => {
    const before = getPreviousState() ?? [];
    const drafted = await draft(thread, text);
    const answer = interrupt({ draft: drafted });
    const done = [...before, await polish(thread, drafted, answer)];
    return entrypoint.final({ value: done.at(-1), save: done });
  });
}

const GRAPHS = { chat, subgraphs, approval, tools, delta, functional };

// --- the commands --------------------------------------------------------------------------------

let saver;
let shallow;
let graphs = {};

const configured = ({ thread, checkpoint, ns }) => ({
  durability: "sync",
  configurable: {
    thread_id: thread,
    ...(checkpoint ? { checkpoint_id: checkpoint } : {}),
    ...(ns === undefined ? {} : { checkpoint_ns: ns }),
  },
});

const snapshot = (s) => ({
  id: s.config.configurable.checkpoint_id,
  parent: s.parentConfig?.configurable?.checkpoint_id ?? null,
  values: s.values,
  next: s.next,
  source: s.metadata?.source,
  step: s.metadata?.step,
  tasks: s.tasks.map((t) => ({
    name: t.name,
    error: t.error === undefined ? null : String(t.error),
    interrupts: t.interrupts.map((i) => i.value),
    state: t.state?.values ?? null,
  })),
});

const COMMANDS = {
  async connect({ port }) {
    saver = await connect(port);
    shallow = new ShallowRedisSaver(saver.client);
    graphs = Object.fromEntries(
      Object.entries(GRAPHS).map(([name, make]) => [name, make(saver)]),
    );
    graphs.shallow = approval(shallow);
    return true;
  },
  async disconnect() {
    await saver.end();
    return true;
  },
  async invoke({ graph, input, resume, update, ...where }) {
    const given = resume === undefined ? input ?? null : new Command({ resume, update });
    return graphs[graph].invoke(given, configured(where));
  },
  async update({ graph, values, node, ...where }) {
    const config = await graphs[graph].updateState(configured(where), values, node);
    return config.configurable.checkpoint_id;
  },
  async state({ graph, ...where }) {
    return snapshot(await graphs[graph].getState(configured(where), { subgraphs: true }));
  },
  async history({ graph, ...where }) {
    const found = [];
    for await (const one of graphs[graph].getStateHistory(configured(where), { limit: 1000 })) {
      found.push(snapshot(one));
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  },
  async tuple(where) {
    return (await saver.getTuple(configured(where))) ?? null;
  },
  async runs() {
    return runs;
  },
};

for (;;) {
  const { do: name, pausing: wanted, ...given } = await read();
  if (name === "end") break;
  pausing = wanted ?? false;
  try {
    const answer = await COMMANDS[name](given);
    await saver?.last;
    pausing = false;
    write({ answer: answer ?? null });
  } catch (error) {
    pausing = false;
    write({ error: String(error?.stack ?? error) });
  }
}
process.exit(0);
