// Sends the documents of a manifest by their hash alone, by both protocols, to a server that trusts no others.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client/core";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { check, EVM, recorder, url } from "./check.mjs";

const manifest = JSON.parse(readFileSync(process.argv[3], "utf8"));
const [documentId, text] = Object.entries(manifest).find(([, text]) => text.includes("query Portfolio("));
const variables = { addresses: [EVM], first: 2 };

async function post(body) {
  const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: response.status, ...(await response.json()) };
}

await check("a trusted document is executed by its id", async () => {
  const { status, data, errors } = await post({ documentId, variables });
  assert.equal(errors, undefined);
  assert.equal(status, 200);
  assert.equal(data.portfolio.holdings.nodes.length, 2);
});

await check("a trusted document is executed by its id, by GET", async () => {
  const address = new URL(url);
  address.searchParams.set("documentId", documentId);
  address.searchParams.set("variables", JSON.stringify(variables));
  const { data } = await (await fetch(address)).json();
  assert.equal(data.portfolio.holdings.nodes.length, 2);
});

await check("a trusted document is executed by its hash, as Apollo Client asks for it", async () => {
  const { sent, fetch } = recorder();
  const link = new PersistedQueryLink({ generateHash: () => documentId.replace("sha256:", "") });
  const client = new ApolloClient({ link: link.concat(new HttpLink({ uri: url, fetch })), cache: new InMemoryCache() });
  const { data } = await client.query({ query: gql(text), variables });
  assert.equal(data.portfolio.holdings.nodes.length, 2);
  assert.deepEqual(sent.map(({ body }) => Object.keys(body).sort()), [["extensions", "operationName", "variables"]]);
});

await check("no other document is executed", async () => {
  const { status, data, errors } = await post({ query: "{ chains { id } }" });
  assert.equal(status, 400);
  assert.equal(data, undefined);
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
});

await check("a document that nobody has made known is not found", async () => {
  const { data, errors } = await post({ documentId: `sha256:${"0".repeat(64)}` });
  assert.equal(data, undefined);
  assert.equal(errors[0].extensions.code, "PERSISTED_QUERY_NOT_FOUND");
});

process.exit(0);
