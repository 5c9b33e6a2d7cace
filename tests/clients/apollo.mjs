// Apollo Client 4, as an application that was never told anything about this server uses it.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client/core";
import { Defer20220824Handler, GraphQL17Alpha9Handler } from "@apollo/client/incremental";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { asked, check, EVM, moved, noneAsk, recorder, slow, SOLANA, until, url } from "./check.mjs";

globalThis.WebSocket ??= WebSocket; // node has it from version 22 on

const TOTAL = gql`
  query Total($address: AccountAddress!) {
    wallet(address: $address) { id address total { valueUsd complete } }
  }
`;
const NO_SUCH_FIELD = gql`query NoSuchField { chains { id nickname } }`;
const NO_SUCH_PAGE = gql`
  query NoSuchPage($address: AccountAddress!) {
    chains { id }
    wallet(address: $address) { id holdings(after: "nowhere") { totalCount } }
  }
`;
const CHANGES = gql`
  subscription Changes($address: AccountAddress!, $everySeconds: Int! = 60) {
    walletChanged(address: $address, everySeconds: $everySeconds) { changed { id amount } removedIds at }
  }
`;
const DEFERRED = gql`
  query Deferred($address: AccountAddress!) {
    wallet(address: $address) {
      id
      holdings(first: 2, filter: { sources: [ONDO_GM] }) { nodes { id amount } }
      ... @defer { total { valueUsd } }
    }
  }
`;
const STREAMED = gql`
  query Streamed($address: AccountAddress!) {
    wallet(address: $address) { id holdings(first: 4) { nodes @stream(initialCount: 1) { id amount } } }
  }
`;
const DEFERRED_BADLY = gql`
  query DeferredBadly($address: AccountAddress!) {
    wallet(address: $address) { id address ... @defer { holdings(after: "nowhere") { totalCount } } }
  }
`;
const variables = { address: EVM };
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

function application(link, options = {}) {
  return new ApolloClient({ link, cache: new InMemoryCache(), ...options });
}

function over(makeLink, options) {
  const { sent, fetch } = recorder();
  return { sent, client: application(makeLink(fetch), options) };
}

const overHttp = (linkOptions, options) => over((fetch) => new HttpLink({ uri: url, fetch, ...linkOptions }), options);

await check("a query with variables is answered", async () => {
  const { client, sent } = overHttp();
  const { data, error } = await client.query({ query: TOTAL, variables });
  assert.equal(error, undefined);
  assert.equal(data.wallet.address, EVM);
  assert.match(data.wallet.total.valueUsd, /^\d+(\.\d+)?$/);
  assert.equal(sent.length, 1);
  assert.equal(sent[0].method, "POST");
});

await check("an invalid document is an error with its code", async () => {
  const { client, sent } = overHttp();
  const { data, error } = await client.query({ query: NO_SUCH_FIELD, errorPolicy: "all" });
  assert(CombinedGraphQLErrors.is(error), String(error));
  assert.equal(error.errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
  assert.match(error.errors[0].message, /nickname/);
  assert.equal(data, undefined);
  assert.match(sent[0].response.headers.get("content-type"), /^application\/graphql-response\+json/);
  assert.equal(sent[0].response.status, 400);
});

await check("a field's error stands beside the data of the others", async () => {
  const { client, sent } = overHttp();
  const { data, error } = await client.query({ query: NO_SUCH_PAGE, variables, errorPolicy: "all" });
  assert(CombinedGraphQLErrors.is(error), String(error));
  assert.equal(error.errors[0].extensions.code, "BAD_USER_INPUT");
  assert.equal(sent[0].response.ok, true);
  assert.equal(data.wallet, null);
  assert(data.chains.length > 0);
});

await check("queries go by GET where the application says so", async () => {
  const { client, sent } = overHttp({ useGETForQueries: true });
  const { data } = await client.query({ query: TOTAL, variables });
  assert.equal(data.wallet.address, EVM);
  assert.equal(sent[0].method, "GET");
  assert.deepEqual(JSON.parse(sent[0].url.searchParams.get("variables")), variables);
});

await check("a persisted query is missed once and found from then on, by POST", () => persisted("POST"));
await check("a persisted query is missed once and found from then on, by GET", () => persisted("GET"));

async function persisted(method) {
  const useGETForHashedQueries = method === "GET";
  const { client, sent } = over((fetch) =>
    new PersistedQueryLink({ sha256, useGETForHashedQueries }).concat(new HttpLink({ uri: url, fetch })),
  );
  const query = gql(`query NobodyHasSentThisBy${method} { chains { id name } }`);
  for (let round = 0; round < 2; round += 1) {
    const { data } = await client.query({ query, fetchPolicy: "network-only" });
    assert(data.chains.length > 0);
  }
  const missed = [method, false];
  const registered = ["POST", true];
  const found = [method, false];
  assert.deepEqual(sent.map((one) => [one.method, Boolean(one.body?.query)]), [missed, registered, found]);
}

await check("operations go in one batch, and each has its own answer", async () => {
  const { client, sent } = over((fetch) => new BatchHttpLink({ uri: url, fetch, batchInterval: 20 }));
  const [total, other, bad] = await Promise.all([
    client.query({ query: TOTAL, variables }),
    client.query({ query: TOTAL, variables: { address: SOLANA } }),
    client.query({ query: NO_SUCH_FIELD, errorPolicy: "all" }),
  ]);
  assert.equal(sent.length, 1);
  assert.equal(sent[0].body.length, 3);
  assert.equal(total.data.wallet.address, EVM);
  assert.equal(other.data.wallet.address, SOLANA);
  assert.equal(bad.error.errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
});

await check("the cache has each object once, by its id", async () => {
  const { client, sent } = overHttp();
  const query = gql`
    query Objects($address: AccountAddress!) {
      wallet(address: $address) {
        id
        holdings(first: 3) { nodes { id amount chain { id name } token { id symbol chain { id name } } } }
      }
    }
  `;
  const { data } = await client.query({ query, variables });
  const cached = client.cache.extract();
  const [holding] = data.wallet.holdings.nodes;
  assert.equal(cached[`Holding:${holding.id}`].amount, holding.amount);
  assert.equal(cached[`Token:${holding.token.id}`].symbol, holding.token.symbol);
  assert.equal(cached[`Chain:${holding.chain.id}`].name, holding.chain.name);
  assert.deepEqual(cached[`Token:${holding.token.id}`].chain, { __ref: `Chain:${holding.chain.id}` });
  // What one query has brought another reads: nothing is sent.
  const fragment = gql`fragment Symbol on Token { symbol }`;
  assert.equal(client.readFragment({ id: `Token:${holding.token.id}`, fragment }).symbol, holding.token.symbol);
  await client.query({ query, variables });
  assert.equal(sent.length, 1);
});

await check("@defer brings the rest later, by the draft of 2022", () => deferred(new Defer20220824Handler()));
await check("@defer brings the rest later, by the current draft", () => deferred(new GraphQL17Alpha9Handler()));
await check("@stream brings a list by and by, by the draft of 2022", () => streamed(new Defer20220824Handler()));
await check("@stream brings a list by and by, by the current draft", () => streamed(new GraphQL17Alpha9Handler()));
await check("a deferred part that fails says why, by the draft of 2022", () => failed(new Defer20220824Handler()));
await check("a deferred part that fails says why, by the current draft", () => failed(new GraphQL17Alpha9Handler()));

async function deferred(incrementalHandler) {
  const { client, sent } = overHttp({}, { incrementalHandler });
  const whole = await application(new HttpLink({ uri: url })).query({ query: atOnce(DEFERRED), variables });
  await slow();
  const states = await statesOf(client.watchQuery({ query: DEFERRED, variables }));
  assert.match(sent[0].response.headers.get("content-type"), /^multipart\/mixed/);
  const [first, last] = [states[0], states.at(-1)];
  assert.equal(first.dataState, "streaming");
  assert.equal(first.data.wallet.holdings.nodes.length, 2);
  assert.equal(first.data.wallet.total, undefined);
  assert.deepEqual(last.data, whole.data);
  // To whom the parts do not matter the answer comes when it is whole, to the last boundary.
  assert.deepEqual((await client.query({ query: DEFERRED, variables, fetchPolicy: "network-only" })).data, whole.data);
}

async function streamed(incrementalHandler) {
  const { client, sent } = overHttp({}, { incrementalHandler });
  const whole = await application(new HttpLink({ uri: url })).query({ query: atOnce(STREAMED), variables });
  const states = await statesOf(client.watchQuery({ query: STREAMED, variables }));
  assert.match(sent[0].response.headers.get("content-type"), /^multipart\/mixed/);
  assert.equal(states[0].data.wallet.holdings.nodes.length, 1);
  assert.deepEqual(states.at(-1).data, whole.data);
}

async function failed(incrementalHandler) {
  const { client } = overHttp({}, { incrementalHandler });
  const states = await statesOf(client.watchQuery({ query: DEFERRED_BADLY, variables, errorPolicy: "all" }));
  const { data, error } = states.at(-1);
  assert.equal(error.errors[0].extensions.code, "BAD_USER_INPUT");
  assert.equal(data.wallet.address, EVM);
}

/** The same without parts. */
function atOnce({ loc }) {
  return gql(loc.source.body.replace(/@(defer|stream)(\(.*?\))?/, ""));
}

/** The states that a query goes through until nothing more comes. */
function statesOf(observable) {
  return new Promise((resolve) => {
    const states = [];
    observable.subscribe((state) => {
      if (state.data) states.push(state);
      if (!state.loading) resolve(states);
    });
  });
}

await check("a subscription brings changes over WebSocket", async () => {
  const socket = createClient({ url: url.replace("http", "ws") });
  await followChanges(application(new GraphQLWsLink(socket)), "11");
  await socket.dispose();
});

await check("a subscription brings changes over multipart HTTP, and ends upstream when it is left", async () => {
  const { client, sent } = overHttp();
  await followChanges(client, "12");
  await noneAsk();
  assert.match(sent[0].headers.get("accept"), /subscriptionSpec=1.0/);
  assert.match(sent[0].response.headers.get("content-type"), /^multipart\/mixed/);
});

/** Subscribes, lets a balance change, and leaves. */
async function followChanges(client, balance) {
  const events = [];
  const before = await asked();
  const observable = client.subscribe({ query: CHANGES, variables: { address: EVM, everySeconds: 1 } });
  const subscription = observable.subscribe({
    next: (event) => events.push(event),
    error: (error) => events.push({ error }),
  });
  await until(async () => events.length > 0 || (await asked()) > before);
  await moved(balance);
  await until(() => events.length > 0);
  assert.equal(events[0].error, undefined);
  assert.deepEqual(events[0].data.walletChanged.changed.map((one) => one.amount), [balance]);
  subscription.unsubscribe();
}

await check("a subscription that is refused says why, over multipart HTTP", async () => {
  const { client } = overHttp();
  await refusedSubscription(client);
});

await check("a subscription that is refused says why, over WebSocket", async () => {
  const socket = createClient({ url: url.replace("http", "ws") });
  await refusedSubscription(application(new GraphQLWsLink(socket)));
  await socket.dispose();
});

async function refusedSubscription(client) {
  const observable = client.subscribe({ query: CHANGES, variables: { address: "0x12" } });
  const { error } = await new Promise((resolve) => {
    observable.subscribe({ next: resolve, error: (thrown) => resolve({ error: thrown }) });
  });
  assert.match(JSON.stringify(error.errors ?? error), /BAD_USER_INPUT/);
}

process.exit(0);
