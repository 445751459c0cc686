import { cloudflareTest } from "@cloudflare/vitest-plugin"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    projects: [
      // Pure rules and the repository's own claims about itself: plain Node, milliseconds.
      {
        test: {
          name: "core",
          isolate: false,
          testTimeout: 60_000,
          include: ["test/core/**/*.test.ts", "test/repo/**/*.test.ts"],
        },
      },
      // Stages and objects, inside workerd with the bindings of wrangler.toml; origin, sink and certificates outside of it.
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml" } })],
        test: {
          name: "worker",
          include: ["test/worker/**/*.test.ts"],
          globalSetup: ["./test/worker/global-setup.ts"],
          testTimeout: 20_000,
        },
      },
      // The road as a caller travels it: a real TLS handshake, the edge, workerd, an origin, a sink.
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], testTimeout: 30_000, hookTimeout: 60_000 } },
    ],
  },
})
