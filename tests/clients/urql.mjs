// urql, which lists streams among what it accepts with every query.
import assert from "node:assert/strict";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { createClient as createSseClient } from "graphql-sse";
import { createClient as createWsClient } from "graphql-ws";
import { pipe, subscribe, toPromise, filter, take } from "wonka";
import WebSocket from "ws";
import { asked, check, EVM, moved, noneAsk, recorder, slow, until, url } from "./check.mjs";

// Where urql leaves a stream it aborts the request, and nobody catches what comes of that.
process.on("unhandledRejection", (error) => {
  if (error.name !== "AbortError") throw error;
});

const TOTAL = `
  query Total($address: AccountAddress!) {
    wallet(address: $address) { id address total { valueUsd complete } }
  }
`;
const CHANGES = `
  subscription Changes($address: AccountAddress!, $everySeconds: Int! = 60) {
    walletChanged(address: $address, everySeconds: $everySeconds) { changed { id amount } removedIds at }
  }
`;
const DEFERRED = `
  query Deferred($address: AccountAddress!) {
    wallet(address: $address) {
      id
      holdings(first: 2, filter: { sources: [ONDO_GM] }) { nodes { id amount } }
      ... @defer { total { valueUsd } }
    }
  }
`;
const variables = { address: EVM };

function application({ exchanges = [fetchExchange], ...options } = {}) {
  const { sent, fetch } = recorder();
  return { sent, client: new Client({ url, exchanges, fetch, preferGetMethod: false, ...options }) };
}

await check("a plain query is answered in one piece of JSON", async () => {
  const { client, sent } = application();
  const { data, error } = await client.query(TOTAL, variables);
  assert.equal(error, undefined);
  assert.equal(data.wallet.address, EVM);
  assert.match(sent[0].headers.get("accept"), /text\/event-stream/);
  assert.match(sent[0].headers.get("accept"), /multipart\/mixed/);
  assert.match(sent[0].response.headers.get("content-type"), /^application\/graphql-response\+json/);
});

await check("queries go by GET where the application says so", async () => {
  const { client, sent } = application({ preferGetMethod: "force" });
  const { data } = await client.query(TOTAL, variables);
  assert.equal(data.wallet.address, EVM);
  assert.equal(sent[0].method, "GET");
});

await check("an invalid document is an error with its code", async () => {
  const { client, sent } = application();
  const { data, error } = await client.query("query NoSuchField { chains { id nickname } }", {});
  assert.equal(error.networkError, undefined);
  assert.equal(error.graphQLErrors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
  assert.equal(data, undefined);
  assert.equal(sent[0].response.status, 400);
});

await check("a field's error stands beside the data of the others", async () => {
  const { client } = application();
  const { data, error } = await client.query(
    `query NoSuchPage($address: AccountAddress!) {
      chains { id }
      wallet(address: $address) { id holdings(after: "nowhere") { totalCount } }
    }`,
    variables,
  );
  assert.equal(error.graphQLErrors[0].extensions.code, "BAD_USER_INPUT");
  assert.deepEqual(error.graphQLErrors[0].path, ["wallet", "holdings"]);
  assert(data.chains.length > 0);
  assert.equal(data.wallet, null);
});

await check("@defer brings the rest later", async () => {
  const { client, sent } = application();
  const whole = await client.query(DEFERRED.replace("@defer", ""), variables);
  await slow();
  const results = await resultsOf(client, DEFERRED);
  assert.match(sent[1].response.headers.get("content-type"), /^multipart\/mixed/);
  assert.equal(results[0].hasNext, true);
  assert.equal(results[0].data.wallet.holdings.nodes.length, 2);
  assert.equal(results[0].data.wallet.total, undefined);
  assert.deepEqual(results.at(-1).data, whole.data);
});

await check("@stream brings a list by and by", async () => {
  const { client } = application();
  const document = `query Streamed($address: AccountAddress!) {
    wallet(address: $address) { id holdings(first: 4) { nodes @stream(initialCount: 1) { id amount } } }
  }`;
  const whole = await client.query(document.replace("@stream(initialCount: 1)", ""), variables);
  const results = await resultsOf(client, document);
  assert.equal(results[0].data.wallet.holdings.nodes.length, 1);
  assert.deepEqual(results.at(-1).data, whole.data);
});

await check("a deferred part that fails says why", async () => {
  const { client } = application();
  const document = `query DeferredBadly($address: AccountAddress!) {
    wallet(address: $address) { id address ... @defer { holdings(after: "nowhere") { totalCount } } }
  }`;
  const { data, codes } = (await resultsOf(client, document)).at(-1);
  assert.deepEqual(codes, ["BAD_USER_INPUT"]);
  assert.equal(data.wallet.address, EVM);
});

/** What a query's result is after each of its parts. */
async function resultsOf(client, document) {
  const results = [];
  const note = ({ data, error, hasNext }) => {
    const codes = error?.graphQLErrors.map(({ extensions }) => extensions.code);
    results.push(structuredClone({ data, codes, hasNext }));
    return !hasNext;
  };
  await pipe(client.query(document, variables), filter(note), take(1), toPromise);
  return results;
}

await check("a persisted query is missed once and found from then on, by POST", () => persisted(false));
await check("a persisted query is missed once and found from then on, by GET", () => persisted("force"));

async function persisted(preferGetForPersistedQueries) {
  const { client, sent } = application({
    exchanges: [persistedExchange({ preferGetForPersistedQueries }), fetchExchange],
  });
  const document = `query NobodyHasSentThisTo${preferGetForPersistedQueries || "post"} { chains { id name } }`;
  for (let round = 0; round < 2; round += 1) {
    const { data, error } = await client.query(document, {}, { requestPolicy: "network-only" });
    assert.equal(error, undefined);
    assert(data.chains.length > 0);
  }
  const hasDocument = ({ body, url }) => Boolean(body?.query ?? url.searchParams.get("query"));
  assert.deepEqual(sent.map(hasDocument), [false, true, false]);
  assert.deepEqual(new Set(sent.map((one) => one.method)), new Set([preferGetForPersistedQueries ? "GET" : "POST"]));
}

await check("a subscription brings changes over WebSocket", async () => {
  const socket = createWsClient({ url: url.replace("http", "ws"), webSocketImpl: WebSocket });
  await followChanges([forwardTo(socket)], "21");
  await socket.dispose();
});

await check("a subscription brings changes over server-sent events", async () => {
  const events = createSseClient({ url });
  await followChanges([forwardTo(events)], "22");
  events.dispose();
});

await check("a subscription brings changes by fetch alone, and ends upstream when it is left", async () => {
  await followChanges([fetchExchange], "23");
  await noneAsk();
});

await check("a subscription that is refused says why, by fetch alone", async () => {
  const { client } = application({ fetchSubscriptions: true });
  const { error } = await pipe(client.subscription(CHANGES, { address: "0x12" }), take(1), toPromise);
  assert.equal(error.graphQLErrors[0]?.extensions.code, "BAD_USER_INPUT");
});

function forwardTo(transport) {
  return subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: transport.subscribe({ query, variables }, sink) }),
    }),
  });
}

/** Subscribes, lets a balance change, and leaves. */
async function followChanges(exchanges, balance) {
  const { client } = application({ exchanges, fetchSubscriptions: true });
  const results = [];
  const before = await asked();
  const { unsubscribe } = pipe(
    client.subscription(CHANGES, { address: EVM, everySeconds: 1 }),
    subscribe((result) => results.push(result)),
  );
  await until(async () => results.length > 0 || (await asked()) > before);
  await moved(balance);
  await until(() => results.length > 0);
  assert.equal(results[0].error, undefined);
  assert.deepEqual(results[0].data.walletChanged.changed.map((one) => one.amount), [balance]);
  unsubscribe();
}

process.exit(0);
