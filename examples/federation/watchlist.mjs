// The second subgraph: node watchlist.mjs [data] [port]
// It adds `watchers` to Token and `label` to Wallet, and knows nothing else of them.
import { readFileSync } from "node:fs";
import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { parse } from "graphql";

const [data = "watchlist.json", port = "4001"] = process.argv.slice(2);
const { watchers, labels } = JSON.parse(readFileSync(data, "utf8"));

const typeDefs = parse(readFileSync(new URL("watchlist.graphql", import.meta.url), "utf8"));
const resolvers = {
  Query: {
    watchlist: () => Object.keys(watchers).map((assetId) => ({ assetId })),
    contacts: () => Object.keys(labels).map((address) => ({ address })),
  },
  Token: {
    __resolveReference: ({ assetId }) => ({ assetId }),
    watchers: ({ assetId }) => watchers[assetId] ?? 0,
  },
  Wallet: {
    __resolveReference: ({ address }) => ({ address }),
    label: ({ address }) => labels[address],
  },
};

const server = new ApolloServer({ schema: buildSubgraphSchema({ typeDefs, resolvers }) });
const { url } = await startStandaloneServer(server, { listen: { host: "127.0.0.1", port: Number(port) } });
console.log(`The watchlist is at ${url}`);
