// GraphQL Yoga: documents compiled by graphql-jit, or with JIT=0 executed as yoga comes.

import { createServer } from "node:http";

import { useGraphQlJit } from "@envelop/graphql-jit";
import { createSchema, createYoga } from "graphql-yoga";

import { createContext, resolvers, typeDefs } from "./schema.mjs";
import { listen } from "./serve.mjs";

const { JIT = "1" } = process.env;

const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers }),
  context: createContext,
  plugins: JIT === "1" ? [useGraphQlJit()] : [],
  parserAndValidationCache: true,
  batching: false,
  cors: false,
  graphiql: false,
  landingPage: false,
  logging: false,
  multipart: false,
  // A proxy limits bodies; here every body would go through a stream for it.
  maxRequestBodySize: false,
});

listen(createServer(yoga));
