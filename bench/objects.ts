/**
 * Client objects that are alive at once, and what they take. Each of them keeps files open, and a workerd on one machine runs out of
 * those near 6,600; Cloudflare spreads objects over machines.
 */
import { join } from "node:path"
import { clientVariables, identityFields } from "./identities.ts"
import { runSlice } from "./load.ts"
import { plainGateway } from "./parties.ts"
import { memoryBytesOf } from "./process.ts"
import type { RoundsOptions } from "./rounds.ts"
import type { ScaleRow } from "./scale.ts"
import { startBareGateway } from "./workerd.ts"

const OBJECTS = 6_000
const NO_RATIO = { median: Number.NaN, min: Number.NaN, max: Number.NaN }

/** Makes one object after the other by a request of its client, keeps them, and returns a line for one of them and one for all. */
export async function measureObjects(originUrl: string, options: RoundsOptions): Promise<readonly ScaleRow[]> {
  const { directory, v8Flags, warmUp } = options
  const fields = await identityFields(OBJECTS)
  const worker = await startBareGateway(
    { ...plainGateway(originUrl), CLIENTS: clientVariables(OBJECTS) },
    join(directory, "objects"),
    { v8Flags, keepsObjects: true },
  )
  try {
    const url = new URL(`http://localhost:${worker.port}/balance`)
    const line = async (amount: number, count: number): Promise<ScaleRow> => {
      const slice = await runSlice(url, (index) => fields[index % amount] ?? {}, count, worker.pid)
      return {
        series: "objects",
        amount: String(amount),
        cpuUs: slice.cpuUs,
        ratio: NO_RATIO,
        interval: undefined,
        p50Ms: slice.p50Ms,
        memoryBytes: memoryBytesOf(worker.pid),
        errors: slice.errors,
      }
    }
    return [await line(1, Math.max(1, warmUp)), await line(OBJECTS, OBJECTS)]
  } finally {
    await worker.close()
  }
}
