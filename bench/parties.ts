/**
 * Who else takes part in a measurement: the origin, and the gateway as it is configured for all of them.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { ROOT } from "./worker.ts"

/** An origin that runs. */
export interface BenchOrigin {
  readonly url: string
  close(): void
}

/** Starts `origin.ts` in a process of its own. */
export async function startOrigin(): Promise<BenchOrigin> {
  const child = spawn(process.execPath, [join(ROOT, "bench/origin.ts")], { stdio: ["ignore", "pipe", "inherit"] })
  const [port] = (await once(createInterface(child.stdout), "line")) as [string]
  return { url: `http://127.0.0.1:${port}`, close: () => void child.kill() }
}

/** Returns the variables of a gateway with one route and one rate that refuses nothing and is lent; no events. */
export function plainGateway(originUrl: string) {
  return {
    PLATFORM: "cloudflare",
    GATEWAY: { hosts: ["localhost"], console: false },
    ORIGINS: { bank: { url: originUrl } },
    TOKENS: undefined,
    GUARDS: undefined,
    LIMITS: { standard: { rate: "1000000/s", burst: 1_000_000 } },
    ROUTES: [{ path: "/balance", methods: ["GET"], origin: "bank", limits: "standard" }],
    SINKS: [],
  }
}
