// graphql-ws, the reference client of the protocol graphql-transport-ws.
import assert from "node:assert/strict";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { asked, check, EVM, moved, noneAsk, SOLANA, until, url } from "./check.mjs";

const ADDRESS = url.replace("http", "ws");
const TOTAL = `
  query Total($address: AccountAddress!) {
    wallet(address: $address) { address total { valueUsd } }
  }
`;
const CHANGES = `
  subscription Changes($address: AccountAddress!, $everySeconds: Int! = 60) {
    walletChanged(address: $address, everySeconds: $everySeconds) { changed { id amount } removedIds at }
  }
`;

/** A client, and what happens to its connections. */
function connect(options = {}) {
  const seen = [];
  const note = (name) => (...details) => seen.push([name, ...details]);
  const client = createClient({
    url: ADDRESS,
    webSocketImpl: WebSocket,
    on: { connected: note("connected"), closed: note("closed"), ping: note("ping"), pong: note("pong") },
    ...options,
  });
  const times = (name) => seen.filter(([happened]) => happened === name).length;
  const received = (name) => seen.filter(([happened, isReceived]) => happened === name && isReceived).length;
  return { client, times, received };
}

/** Every result of an operation, to its end; rejects with the errors that it ended with. */
async function resultsOf(client, payload) {
  const results = [];
  for await (const result of client.iterate(payload)) results.push(result);
  return results;
}

const errorsOf = (client, payload) =>
  resultsOf(client, payload).then(() => assert.fail("it was answered"), (errors) => errors);

await check("a query is answered once and completed", async () => {
  const { client } = connect();
  const results = await resultsOf(client, { query: TOTAL, variables: { address: EVM } });
  assert.equal(results.length, 1);
  assert.equal(results[0].data.wallet.address, EVM);
  await client.dispose();
});

await check("the server answers pings", async () => {
  const { client, times, received } = connect({ lazy: false, keepAlive: 50 });
  await until(() => received("pong") >= 2);
  assert.equal(times("closed"), 0);
  await client.dispose();
});

await check("operations run side by side on one connection, each with its own answer", async () => {
  const { client, times } = connect();
  const addresses = [EVM, SOLANA, EVM, SOLANA, EVM];
  const answers = await Promise.all(
    addresses.map((address) => resultsOf(client, { query: TOTAL, variables: { address } })),
  );
  assert.deepEqual(answers.map(([{ data }]) => data.wallet.address), addresses);
  assert.equal(times("connected"), 1);
  await client.dispose();
});

await check("an invalid operation ends alone, and the connection stays", async () => {
  const { client, times } = connect({ lazy: false });
  const ended = {
    GRAPHQL_VALIDATION_FAILED: { query: "{ chains { nickname } }" },
    GRAPHQL_PARSE_FAILED: { query: "{ chains {" },
    BAD_USER_INPUT: { query: TOTAL, variables: { address: "0x12" } },
  };
  for (const [code, payload] of Object.entries(ended)) {
    const errors = await errorsOf(client, payload);
    assert(Array.isArray(errors), String(errors));
    assert.equal(errors[0].extensions.code, code);
  }
  const [{ data }] = await resultsOf(client, { query: "{ chains { id } }" });
  assert(data.chains.length > 0);
  assert.equal(times("connected"), 1);
  assert.equal(times("closed"), 0);
  await client.dispose();
});

await check("a field's error stands beside the data of the others", async () => {
  const { client } = connect();
  const query = `query NoSuchPage($address: AccountAddress!) {
    chains { id }
    wallet(address: $address) { id holdings(after: "nowhere") { totalCount } }
  }`;
  const [{ data, errors }] = await resultsOf(client, { query, variables: { address: EVM } });
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
  assert.equal(data.wallet, null);
  assert(data.chains.length > 0);
  await client.dispose();
});

await check("a subscription brings changes until it is left, and nobody polls for it then", async () => {
  const { client } = connect();
  const changes = client.iterate({ query: CHANGES, variables: { address: EVM, everySeconds: 1 } });
  const before = await asked();
  const next = changes.next();
  await until(async () => (await asked()) > before);
  await moved("31");
  const { value } = await next;
  assert.deepEqual(value.data.walletChanged.changed.map((one) => one.amount), ["31"]);
  assert.deepEqual(value.data.walletChanged.removedIds, []);
  await changes.return();
  await noneAsk();
  await client.dispose();
});

await check("a subscription ends upstream with its connection", async () => {
  const { client, times } = connect();
  const before = await asked();
  client.subscribe({ query: CHANGES, variables: { address: EVM, everySeconds: 1 } }, { next() {}, error() {}, complete() {} });
  await until(async () => times("connected") === 1 && (await asked()) > before);
  client.terminate();
  await noneAsk();
});

await check("a subscription that is refused ends alone, and says why", async () => {
  const { client, times } = connect({ lazy: false });
  const errors = await errorsOf(client, { query: CHANGES, variables: { address: EVM, everySeconds: 0 } });
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
  assert.equal(times("closed"), 0);
  await client.dispose();
});

await check("a lazy client leaves and comes back", async () => {
  const { client, times } = connect({ lazy: true, lazyCloseTimeout: 0 });
  for (const round of [1, 2]) {
    const [{ data }] = await resultsOf(client, { query: "{ chains { id } }" });
    assert(data.chains.length > 0);
    await until(() => times("closed") === round);
    assert.equal(times("connected"), round);
  }
});

await check("a client whose connection breaks subscribes again by itself", async () => {
  const { client, times } = connect({ retryAttempts: 3, retryWait: async () => {}, shouldRetry: () => true });
  const changes = client.iterate({ query: CHANGES, variables: { address: EVM, everySeconds: 1 } });
  const before = await asked();
  const next = changes.next();
  await until(async () => times("connected") === 1 && (await asked()) > before);
  client.terminate();
  await until(() => times("connected") === 2);
  const again = await asked();
  await until(async () => (await asked()) > again);
  await moved("32");
  const { value } = await next;
  assert.deepEqual(value.data.walletChanged.changed.map((one) => one.amount), ["32"]);
  await changes.return();
  await client.dispose();
});

await check("a client of the older protocol, or of none, is told that it is not spoken here", async () => {
  const older = await closing(new WebSocket(ADDRESS, "graphql-ws"));
  assert.equal(older.protocol, "");
  assert.equal(older.opened, false);
  assert.equal((await closing(new WebSocket(ADDRESS))).code, 4406);
});

/** How a connection ends. */
function closing(socket) {
  let opened = false;
  socket.on("open", () => (opened = true));
  socket.on("error", () => {});
  return new Promise((resolve) => {
    socket.on("close", (code) => resolve({ code, opened, protocol: socket.protocol }));
  });
}

process.exit(0);
