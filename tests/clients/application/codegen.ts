// Types for an application's documents, from the graph: `SCHEMA` is its address, or its schema as a file.
import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: process.env.SCHEMA,
  documents: ["wallet.ts"],
  generates: {
    "generated/": {
      preset: "client",
      presetConfig: {
        fragmentMasking: false,
        // Writes persisted-documents.json, which TRUSTED_DOCUMENTS=<its folder> lets the server load.
        persistedDocuments: { hashAlgorithm: "sha256" },
      },
      config: {
        useTypeImports: true,
        enumsAsTypes: true,
        defaultScalarType: "unknown",
        // Exact numbers are strings: a JavaScript number would round them.
        scalars: {
          Decimal: "string",
          BigInt: "string",
          DateTime: "string",
          AccountAddress: "string",
          AccountId: "string",
          AssetId: "string",
          ChainId: "string",
        },
      },
    },
  },
};

export default config;
