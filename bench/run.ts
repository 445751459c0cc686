/**
 * `npm run bench`: what the gateway costs, measured on workerd. README.md in this folder is the method and a table.
 *
 *   (no flag)     CPU time per request of the whole gateway against a Worker that only calls fetch;
 *                 --alternatives beside what people would use instead
 *   --gate        calls of the client's object per request, with leases and without, beside the simulation
 *   --identity    CPU time of finding out who it is: a known and a new certificate, a remembered and a new token
 *   --edge        CPU time of the local TLS edge per keep-alive request with a client certificate, against nginx;
 *                 --profile DIR writes a CPU profile of the edge there
 *   --rounds N    of all but the second, default 5; --requests N of one slice, default 4000
 *   --seconds N   of load per line of the second, default 4
 *   --json        for machines
 *
 * Linux only: CPU time is read from /proc.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { benchEdge } from "./edge.ts"
import { benchGate } from "./gate.ts"
import { benchIdentity } from "./identity.ts"
import { benchTargets } from "./targets.ts"

const { values } = parseArgs({
  options: {
    alternatives: { type: "boolean", default: false },
    edge: { type: "boolean", default: false },
    gate: { type: "boolean", default: false },
    identity: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    requests: { type: "string", default: "4000" },
    profile: { type: "string" },
    seconds: { type: "string", default: "4" },
    json: { type: "boolean", default: false },
  },
})
const directory = await mkdtemp(join(tmpdir(), "sekisho-bench-"))
try {
  const { json } = values
  const size = { rounds: Number(values.rounds), requests: Number(values.requests) }
  if (values.gate) await benchGate({ seconds: Number(values.seconds), json, directory })
  else if (values.edge) await benchEdge({ ...size, json, directory, profile: values.profile })
  else if (values.identity) await benchIdentity({ ...size, json, directory })
  else await benchTargets({ ...size, alternatives: values.alternatives, json, directory })
} finally {
  await rm(directory, { recursive: true, force: true })
}
