// Apollo Server.

import { createServer } from "node:http";

import { ApolloServer, HeaderMap } from "@apollo/server";
import { ApolloServerPluginCacheControlDisabled } from "@apollo/server/plugin/disabled";

import { createContext, resolvers, typeDefs } from "./schema.mjs";
import { listen } from "./serve.mjs";

const apollo = new ApolloServer({
  typeDefs,
  resolvers,
  introspection: false,
  stopOnTerminationSignals: false,
  // Without cache hints in the schema it would only slow every field down.
  plugins: [ApolloServerPluginCacheControlDisabled()],
});
await apollo.start();

const context = async () => createContext();

/** What the standalone server does, without its middleware. */
async function answer(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const headers = new HeaderMap();
  for (const [name, value] of Object.entries(request.headers)) headers.set(name, String(value));
  const { status, headers: answered, body } = await apollo.executeHTTPGraphQLRequest({
    httpGraphQLRequest: { method: request.method, headers, search: "", body: JSON.parse(Buffer.concat(chunks)) },
    context,
  });
  response.statusCode = status ?? 200;
  for (const [name, value] of answered) response.setHeader(name, value);
  response.end(body.string);
}

const refuse = (response) => response.writeHead(400).end();

listen(createServer((request, response) => answer(request, response).catch(() => refuse(response))));
