// relay-runtime with what relay-compiler made of HoldingsList.js: reads, pages and refetches as Relay does.
import assert from "node:assert/strict";
import relay from "relay-runtime";
import { check, EVM, recorder, url } from "../check.mjs";
import pageQuery from "./generated/HoldingsListPageQuery.graphql.js";
import query from "./generated/HoldingsListQuery.graphql.js";
import fragment from "./generated/HoldingsList_wallet.graphql.js";

const { createOperationDescriptor, Environment, fetchQuery, getSingularSelector, Network, RecordSource, Store } = relay;

/** A screen that shows the wallet's holdings, and what it has asked so far. */
function screen() {
  const { sent, fetch } = recorder();
  const ask = async ({ text }, variables) => {
    const headers = { "content-type": "application/json", accept: "application/graphql-response+json" };
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ query: text, variables }) });
    return response.json();
  };
  const environment = new Environment({ network: Network.create(ask), store: new Store(new RecordSource()) });
  const shown = () => {
    const root = environment.lookup(createOperationDescriptor(query, { address: EVM }).fragment);
    return environment.lookup(getSingularSelector(fragment, root.data.wallet)).data;
  };
  return {
    sent,
    shown,
    open: () => fetchQuery(environment, query, { address: EVM }).toPromise(),
    fetch: (variables) => fetchQuery(environment, pageQuery, { id: shown().id, ...variables }).toPromise(),
    record: (id) => environment.getStore().getSource().get(id),
  };
}

await check("a connection is paged to its end, and no edge comes twice", async () => {
  const { open, fetch, shown, sent } = screen();
  await open();
  assert.equal(shown().holdings.edges.length, 4);
  while (shown().holdings.pageInfo.hasNextPage) await fetch({ first: 7, after: shown().holdings.pageInfo.endCursor });
  const ids = shown().holdings.edges.map(({ node }) => node.id);
  assert.equal(ids.length, 18);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(sent.length, 3);
});

await check("an object is asked for again by its id", async () => {
  const { open, fetch, shown, sent, record } = screen();
  await open();
  const { id, address } = shown();
  await fetch({ first: 2, after: null });
  assert.match(sent[1].body.query, /node\(id: \$id\)/);
  assert.equal(record(id).__typename, "Wallet");
  assert.equal(shown().address, address);
  assert.equal(shown().holdings.edges.length, 2);
});

process.exit(0);
