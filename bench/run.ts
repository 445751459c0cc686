/**
 * `npm run bench`: what the gateway costs, measured on workerd. README.md in this folder is the method and its tables.
 *
 *   (no flag)     CPU time per request of the whole gateway against a Worker that only calls fetch;
 *                 --alternatives beside what people would use instead
 *   --stages      CPU time that each stage of the pipeline adds
 *   --scale       the same with many routes, clients, connections, octets and objects; --only NAME for one series
 *   --latency     what a caller waits, in an open loop at half of what the gateway can do
 *   --startup     what a start costs: octets of the bundle, its largest parts, CPU time by what it is spent on
 *   --identity    CPU time of finding out who it is: a known and a new certificate, a remembered and a new token
 *   --gate        calls of the client's object per request, with leases and without, beside the simulation
 *   --edge        CPU time of the local TLS edge per keep-alive request with a client certificate, against nginx;
 *                 --profile DIR writes a CPU profile of the edge there
 *   --rounds N    default 5; --requests N of one slice, default 4000; --warm-up N of each before that, default 5000, and 20000
 *                 where whole Workers are compared
 *   --processes N how often --scale compares other processes of the same gateways, default 1
 *   --seconds N   of load per line of --gate and per slice of --latency, default 4
 *   --v8-default  without the flags of V8 that make rounds comparable; --scale and --latency never have them
 *   --json        for machines
 *
 * Linux only: CPU time is read from /proc.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { benchEdge } from "./edge.ts"
import { benchGate } from "./gate.ts"
import { benchIdentity } from "./identity.ts"
import { benchLatency } from "./latency.ts"
import { parseBenchOptions } from "./options.ts"
import { benchScale } from "./scale.ts"
import { benchStages } from "./stages.ts"
import { benchStartUp } from "./startup.ts"
import { benchTargets } from "./targets.ts"
import { FIXED_COLLECTIONS } from "./workerd.ts"

const options = parseBenchOptions(process.argv.slice(2))
const directory = await mkdtemp(join(tmpdir(), "sekisho-bench-"))
// With collections at fixed points each of them walks everything that is alive: a table costs by its size what it costs nowhere else, and
// whoever is served just then waits for it.
const isLikePlatform = options.v8Default || options.mode === "scale" || options.mode === "latency"
const settings = { ...options, directory, v8Flags: isLikePlatform ? [] : FIXED_COLLECTIONS }
try {
  switch (options.mode) {
    case "targets":
      await benchTargets(settings)
      break
    case "stages":
      await benchStages(settings)
      break
    case "startup":
      await benchStartUp(settings)
      break
    case "scale":
      await benchScale(settings)
      break
    case "latency":
      await benchLatency(settings)
      break
    case "identity":
      await benchIdentity(settings)
      break
    case "edge":
      await benchEdge(settings)
      break
    case "gate":
      await benchGate(settings)
      break
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}
