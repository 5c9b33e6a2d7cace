// The suite's own tests as they are, with no need of the Docker or pm2 by which it starts its servers.
// Federated tracing (ftv1) is optional, and not offered.
const { dirname, join } = require("node:path");

module.exports = {
  rootDir: dirname(require.resolve("@apollo/federation-subgraph-compatibility-tests/package.json")),
  haste: { retainAllFiles: true },
  testEnvironment: "node",
  testFailureExitCode: 0, // each failure is in the report
  testMatch: ["<rootDir>/dist/tests/*.test.js"],
  testPathIgnorePatterns: ["ftv1"],
  moduleNameMapper: { "^make-fetch-happen$": join(__dirname, "fetch.cjs") },
};
