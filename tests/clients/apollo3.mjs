// Apollo Client 3, which many applications still have.
import assert from "node:assert/strict";
import apollo from "apollo-client-3/core/core.cjs";
import { check, EVM, moved, recorder, slow, asked, until, url } from "./check.mjs";

const { ApolloClient, gql, HttpLink, InMemoryCache } = apollo;
const variables = { address: EVM };

function application() {
  const { sent, fetch } = recorder();
  return { sent, client: new ApolloClient({ link: new HttpLink({ uri: url, fetch }), cache: new InMemoryCache() }) };
}

await check("a query is answered, and a field's error stands beside the data of the others", async () => {
  const { client } = application();
  const query = gql`
    query NoSuchPage($address: AccountAddress!) {
      chains { id }
      wallet(address: $address) { id holdings(after: "nowhere") { totalCount } }
    }
  `;
  const { data, errors } = await client.query({ query, variables, errorPolicy: "all" });
  assert(data.chains.length > 0);
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
});

await check("an invalid document is an error with its code", async () => {
  const { client } = application();
  const refused = await client.query({ query: gql`{ chains { nickname } }` }).catch((error) => error);
  const errors = refused.graphQLErrors.length ? refused.graphQLErrors : refused.networkError.result.errors;
  assert.equal(errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
});

await check("@defer brings the rest later", async () => {
  const { client, sent } = application();
  const query = gql`
    query Deferred($address: AccountAddress!) {
      wallet(address: $address) {
        id
        holdings(first: 2, filter: { sources: [ONDO_GM] }) { nodes { id amount } }
        ... @defer { total { valueUsd } }
      }
    }
  `;
  await slow();
  const results = [];
  client.watchQuery({ query, variables }).subscribe(({ data }) => results.push(data));
  await until(() => results.at(-1)?.wallet.total);
  assert.match(sent[0].response.headers.get("content-type"), /^multipart\/mixed/);
  assert.equal(results[0].wallet.holdings.nodes.length, 2);
  assert.equal(results[0].wallet.total, undefined);
  assert.match(results.at(-1).wallet.total.valueUsd, /^\d/);
});

await check("a subscription brings changes over multipart HTTP", async () => {
  const { client, sent } = application();
  const query = gql`
    subscription Changes($address: AccountAddress!) {
      walletChanged(address: $address, everySeconds: 1) { changed { id amount } }
    }
  `;
  const events = [];
  const before = await asked();
  const subscription = client.subscribe({ query, variables }).subscribe({
    next: (event) => events.push(event),
    error: (error) => events.push({ error }),
  });
  await until(async () => (await asked()) > before);
  await moved("14");
  await until(() => events.length > 0);
  assert.deepEqual(events[0].data?.walletChanged.changed.map((one) => one.amount), ["14"]);
  assert.match(sent[0].response.headers.get("content-type"), /subscriptionSpec=1.0/);
  subscription.unsubscribe();
});

process.exit(0);
