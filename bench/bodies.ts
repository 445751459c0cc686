/**
 * Bodies of growing size, sent and sent back, through the gateway and through a Worker that only calls fetch: what they cost, and how
 * much memory they take at once. Streams take the same however long they are.
 */
import { join } from "node:path"
import { clientVariables, identityFields } from "./identities.ts"
import { startFloor } from "./floors.ts"
import { runSlice, type Slice } from "./load.ts"
import { plainGateway } from "./parties.ts"
import { memoryBytesOf, peakBytesOf, resetPeak } from "./process.ts"
import { compareRounds, countErrors, median, runRounds, type RoundsOptions } from "./rounds.ts"
import type { ScaleRow } from "./scale.ts"
import { startBareGateway } from "./workerd.ts"

/** Octets of the bodies, and how they are written. */
const SIZES = [
  { bytes: 1_024, name: "1 KiB" },
  { bytes: 65_536, name: "64 KiB" },
  { bytes: 1_048_576, name: "1 MiB" },
  { bytes: 50 * 1_048_576, name: "50 MiB" },
] as const

/** At once: with all of them held in memory the largest would come to 200 MiB. */
const CONNECTIONS_OF_BODIES = 4
/** Of one slice: what the requests of a slice may come to where they are many. */
const OCTETS_MAX = 400 * 1_048_576

type Measured = Slice & { readonly grownBytes: number }

/** Measures all sizes. The ratio is to a Worker that only calls fetch. */
export async function measureBodies(originUrl: string, options: RoundsOptions): Promise<readonly ScaleRow[]> {
  const { directory, requests, v8Flags } = options
  const [fields = {}] = await identityFields(1)
  const floor = await startFloor("pass-through", originUrl, join(directory, "bodies-floor"), v8Flags)
  const gateway = await startBareGateway(
    {
      ...plainGateway(originUrl),
      CLIENTS: clientVariables(1),
      ROUTES: [{ path: "/echo", methods: ["POST"], origin: "bank", limits: "standard", max_request_bytes: "64MiB" }],
    },
    join(directory, "bodies"),
    { v8Flags },
  )
  try {
    const rows: ScaleRow[] = []
    for (const { bytes, name } of SIZES) {
      const body = Buffer.alloc(bytes, "x")
      const count = requestsOf(bytes, requests)
      const [floorSlices = [], slices = []] = await runRounds(
        { ...options, requests: count, warmUp: Math.min(options.warmUp, count) },
        [floor, gateway].map(({ pid, port }) => {
          const url = new URL(`http://localhost:${port}/echo`)
          return async (): Promise<Measured> => {
            resetPeak(pid)
            const before = memoryBytesOf(pid)
            const slice = await runSlice(url, fields, count, pid, { body, connections: CONNECTIONS_OF_BODIES })
            return { ...slice, grownBytes: peakBytesOf(pid) - before }
          }
        }),
      )
      rows.push({
        series: "bodies",
        amount: name,
        cpuUs: median(slices.map(({ cpuUs }) => cpuUs)),
        ratio: compareRounds(slices, floorSlices, (a, b) => a.cpuUs / b.cpuUs),
        interval: undefined,
        p50Ms: median(slices.map(({ p50Ms }) => p50Ms)),
        memoryBytes: Math.max(...slices.map(({ grownBytes }) => grownBytes)),
        errors: countErrors([...slices, ...floorSlices]),
      })
    }
    return rows
  } finally {
    await Promise.all([floor.close(), gateway.close()])
  }
}

/** Returns how many bodies of this size make a slice: fewer of the large ones, one for each connection at least. */
export function requestsOf(bytes: number, requests: number): number {
  return Math.max(CONNECTIONS_OF_BODIES, Math.min(requests, Math.floor(OCTETS_MAX / bytes)))
}
