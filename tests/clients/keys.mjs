// Clients with an API key, and without one, at a server that knows who asks.
import assert from "node:assert/strict";
import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from "@apollo/client/core";
import { Client, fetchExchange } from "@urql/core";
import { createClient as createSseClient } from "graphql-sse";
import { createClient as createWsClient } from "graphql-ws";
import WebSocket from "ws";
import { check, url } from "./check.mjs";

const key = { "x-api-key": process.argv[3] };
const CHAINS = "query Chains { chains { id } }";

const apollo = (headers) =>
  new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache: new InMemoryCache() }).query({
    query: gql(CHAINS),
    errorPolicy: "all",
  });

await check("Apollo Client is known by its header", async () => {
  const { data } = await apollo(key);
  assert(data.chains.length > 0);
});

await check("Apollo Client without a key is told so", async () => {
  const { data, error } = await apollo({});
  const { errors } = CombinedGraphQLErrors.is(error) ? error : JSON.parse(error.bodyText);
  assert.equal(errors[0].extensions.code, "UNAUTHENTICATED");
  assert.equal(data, undefined);
});

const urql = (headers) =>
  new Client({ url, exchanges: [fetchExchange], fetchOptions: { headers } }).query(CHAINS, {}).toPromise();

await check("urql is known by its header", async () => {
  const { data } = await urql(key);
  assert(data.chains.length > 0);
});

await check("urql without a key is told so", async () => {
  const { data, error } = await urql({});
  assert.equal(data, undefined);
  assert.equal(error.graphQLErrors[0]?.extensions.code, "UNAUTHENTICATED");
  assert.equal(error.response.status, 401);
});

const overWebSocket = (connectionParams) =>
  createWsClient({ url: url.replace("http", "ws"), webSocketImpl: WebSocket, connectionParams, retryAttempts: 0 });

await check("graphql-ws is known by what it begins with", async () => {
  const client = overWebSocket(key);
  const { value } = await client.iterate({ query: CHAINS }).next();
  assert(value.data.chains.length > 0);
  await client.dispose();
});

await check("graphql-ws without a key is sent away", async () => {
  const client = overWebSocket({});
  const refused = await client.iterate({ query: CHAINS }).next().catch((error) => error);
  assert.equal(refused.code, 4403);
});

await check("graphql-sse is known by its header", async () => {
  const { value } = await createSseClient({ url, headers: key }).iterate({ query: CHAINS }).next();
  assert(value.data.chains.length > 0);
});

await check("graphql-sse without a key is sent away", async () => {
  const client = createSseClient({ url, retryAttempts: 0 });
  const refused = await client.iterate({ query: CHAINS }).next().catch((error) => error);
  assert.equal(refused.response.status, 401);
});

process.exit(0);
