// Prints the supergraph of several subgraphs: node compose.mjs [subgraphs.json]
// Schemas lie where the file that lists them says, from its own place on.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { composeServices } from "@apollo/composition";
import { parse } from "graphql";

const list = pathToFileURL(process.argv[2] ?? "subgraphs.json");
const subgraphs = Object.entries(JSON.parse(readFileSync(list, "utf8")));

const { supergraphSdl, errors } = composeServices(
  subgraphs.map(([name, { url, schema }]) => ({
    name,
    url,
    typeDefs: parse(readFileSync(new URL(schema, list), "utf8")),
  })),
);
if (errors) {
  errors.forEach((error) => console.error(error.message));
  process.exit(1);
}
console.log(supergraphSdl);
