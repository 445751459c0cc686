/**
 * Counts what was refused of each client, and tells the client's object: the first refusal at once, further ones together a
 * flush later. A report is repeated under its number until it is heard; while it is not, counting goes on.
 *
 * One per isolate. No request waits for it; what an isolate has not told when it ends is on the record in events alone.
 */
import type { ClientObjects } from "./client-object.ts"
import type { Gateway, GatewayContext } from "../context.ts"
import { CLIENT_GATE_TIMEOUT_MS, STOPPED_CLIENTS_MAX, STOPPED_REPEAT_MS_MAX } from "../core/bounds.ts"
import { formatHex } from "../core/hex.ts"
import type { ProblemCode } from "../core/problem.ts"
import type { StoppedReport } from "../core/gate/stopped.ts"

/** Counts refusals of one isolate. */
export interface StoppedCounter {
  /** Adds one refusal of a client. Returns at once and never throws. */
  add(c: GatewayContext, clientId: string, code: ProblemCode): void
}

interface Count {
  counts: Record<string, number>
  /** A report that was sent and not heard, and when it was sent first, epoch ms. */
  unheard: StoppedReport | undefined
  unheardSinceMs: number
  seq: number
  /** When the last report was sent, and until when another one is on its way, epoch ms. */
  reportedMs: number
  busyUntilMs: number
}

/** Returns a counter that has counted nothing. Reports of one client are `config.flushMs` apart. */
export function createStoppedCounter(
  { config, fillRandom, nowMs }: Pick<Gateway, "config" | "fillRandom" | "nowMs">,
  objects: ClientObjects,
): StoppedCounter {
  const clients = new Map<string, Count>()
  let boot: string | undefined

  async function report(c: GatewayContext, clientId: string, count: Count, waitMs: number): Promise<void> {
    if (waitMs > 0) await scheduler.wait(waitMs)
    // By now the object may have counted it and forgotten its number: rather not counted than counted twice.
    if (nowMs() - count.unheardSinceMs >= STOPPED_REPEAT_MS_MAX) count.unheard = undefined
    if (count.unheard === undefined) {
      boot ??= formatHex(fillRandom(new Uint8Array(16)))
      count.unheard = { boot, seq: ++count.seq, counts: count.counts }
      count.counts = {}
      count.unheardSinceMs = nowMs()
    }
    const told = count.unheard
    count.reportedMs = nowMs()
    const asked = await objects.call(c, clientId, async (object) => object.reportStopped(told))
    // What is not heard now is repeated with the next refusal.
    if (!("failure" in asked) && count.unheard === told) count.unheard = undefined
    count.busyUntilMs = 0
    if (Object.keys(count.counts).length > 0) start(c, clientId, count)
  }

  function start(c: GatewayContext, clientId: string, count: Count): void {
    const now = nowMs()
    if (now < count.busyUntilMs) return
    const waitMs = Math.max(0, count.reportedMs + config.flushMs - now)
    // A report ends with the request that carries it, also when nobody is told: then the next refusal starts another.
    count.busyUntilMs = now + waitMs + 2 * CLIENT_GATE_TIMEOUT_MS
    c.executionCtx.waitUntil(report(c, clientId, count, waitMs))
  }

  return {
    add(c, clientId, code) {
      let count = clients.get(clientId)
      if (count === undefined) {
        if (clients.size >= STOPPED_CLIENTS_MAX) return
        count = { counts: {}, unheard: undefined, unheardSinceMs: 0, seq: 0, reportedMs: 0, busyUntilMs: 0 }
        clients.set(clientId, count)
      }
      count.counts[code] = (count.counts[code] ?? 0) + 1
      start(c, clientId, count)
    },
  }
}
