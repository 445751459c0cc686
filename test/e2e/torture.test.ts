/**
 * Goal: INV-4, INV-7, INV-9: no payment is made twice, no acknowledged one is missing, and no chain has a gap, although workerd is killed under load
 * and the sink of the trails fails in between. Method: `npm run torture` in short, with a seed; what it looks for is tested in
 * `test/core/reconcile.test.ts`.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { runTorture } from "../../torture/torture.ts"

let state: string
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "sekisho-torture-"))
})
afterAll(() => rm(state, { recursive: true, force: true }))

test.skipIf(process.platform === "win32")(
  "REL-14 payments, acknowledgements and trails agree after workerd was killed four times",
  async () => {
    const { acknowledged, claims } = await runTorture({
      kills: 4,
      callers: 6,
      seed: 20_261_128,
      settles: false,
      state,
      paint: (_, text) => text,
      onProgress: () => {},
    })
    expect(claims.filter(({ broken }) => broken.length > 0)).toEqual([])
    expect(acknowledged).toBeGreaterThan(10)
  },
  240_000,
)
