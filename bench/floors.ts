/**
 * The Workers that a gateway is held against: one that only calls fetch, and one that makes the calls which no gateway can do without.
 */
import { join } from "node:path"
import { ROOT } from "./worker.ts"
import { startBareWorker, type RunningWorker } from "./workerd.ts"

/** What those do that answer for an origin. */
export const FLOORS = {
  "pass-through": "fetch only",
  essentials: "the calls of the platform that a gateway cannot do without; no rule",
} as const

/** Starts one in front of an origin. @param directory one of its own */
export function startFloor(
  name: keyof typeof FLOORS,
  originUrl: string,
  directory: string,
  v8Flags: readonly string[],
): Promise<RunningWorker> {
  return startBareWorker({
    entry: join(ROOT, `bench/${name}.ts`),
    variables: { ORIGIN: originUrl },
    objects: {},
    queues: [],
    compatibilityFlags: name === "essentials" ? ["enable_request_signal"] : [],
    directory,
    v8Flags,
  })
}
