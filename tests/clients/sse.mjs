// graphql-sse, the reference client of GraphQL over server-sent events, in distinct connections mode.
import assert from "node:assert/strict";
import { createClient } from "graphql-sse";
import { asked, check, EVM, moved, noneAsk, recorder, until, url } from "./check.mjs";

const CHANGES = `
  subscription Changes($address: AccountAddress!, $everySeconds: Int! = 60) {
    walletChanged(address: $address, everySeconds: $everySeconds) { changed { id amount } removedIds at }
  }
`;

function connect() {
  const { sent, fetch } = recorder();
  return { sent, client: createClient({ url, fetchFn: fetch, retryAttempts: 0 }) };
}

async function resultsOf(client, payload) {
  const results = [];
  for await (const result of client.iterate(payload)) results.push(result);
  return results;
}

await check("a query is answered by one event and completed", async () => {
  const { client, sent } = connect();
  const results = await resultsOf(client, { query: "{ chains { id } }" });
  assert.equal(results.length, 1);
  assert(results[0].data.chains.length > 0);
  assert.match(sent[0].response.headers.get("content-type"), /^text\/event-stream/);
});

await check("an operation that cannot be executed says why", async () => {
  const { client } = connect();
  for (const [query, code] of [
    ["{ chains { nickname } }", "GRAPHQL_VALIDATION_FAILED"],
    ["{ chains {", "GRAPHQL_PARSE_FAILED"],
  ]) {
    const [{ errors }] = await resultsOf(client, { query });
    assert.equal(errors[0].extensions.code, code);
  }
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
});

await check("a subscription brings changes until it is left, and nobody polls for it then", async () => {
  const { client } = connect();
  const changes = client.iterate({ query: CHANGES, variables: { address: EVM, everySeconds: 1 } });
  const before = await asked();
  const next = changes.next();
  await until(async () => (await asked()) > before);
  await moved("41");
  const { value } = await next;
  assert.deepEqual(value.data.walletChanged.changed.map((one) => one.amount), ["41"]);
  await changes.return();
  await noneAsk();
});

await check("a subscription that is refused says why", async () => {
  const { client } = connect();
  const [{ errors }] = await resultsOf(client, { query: CHANGES, variables: { address: "0x12" } });
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
});

process.exit(0);
