/**
 * What an isolate knows about serials of CAs whose revocation list the gateway fetches by itself.
 *
 * Every serial is asked about once per verdict life, whoever waits for it, so a busy client costs its CA's object one call a
 * second and is stopped within a second of being listed. An answer counts from when it was asked for. Not being able to ask is
 * an answer too and lives as long, so that an object which is down is not called by every request. Never throws; one per
 * isolate.
 */
import type { EndedSpan, Gateway, GatewayContext } from "../context.ts"
import { REVOCATION_TIMEOUT_MS, REVOCATION_VERDICT_MS, REVOCATION_VERDICTS_MAX } from "../core/bounds.ts"
import type { RevocationAnswer, RevocationSource } from "../core/certificate/revocation.ts"
import { LATE, withDeadline } from "../deadline.ts"
import { remember } from "../memory.ts"
import { createObjectCalls } from "./object-calls.ts"

/** Answers about serials. */
export interface RevocationVerdicts {
  /** Returns what a serial is; known answers cost a lookup. */
  ask(c: GatewayContext, serial: string, source: RevocationSource): RevocationAnswer | Promise<RevocationAnswer>
}

interface Verdict {
  readonly askedAtMs: number
  /** Undefined until it is there. */
  answer: RevocationAnswer | undefined
  readonly coming: Promise<RevocationAnswer>
}

/** Returns the verdicts of one isolate. */
export function createRevocationVerdicts({ nowMs }: Pick<Gateway, "nowMs">): RevocationVerdicts {
  const verdicts = new Map<string, Verdict>()
  const objects = createObjectCalls({ nowMs }, (env, ski) => env.REVOCATION_LIST.getByName(ski), REVOCATION_TIMEOUT_MS)

  async function askObject(c: GatewayContext, serial: string, source: RevocationSource): Promise<RevocationAnswer> {
    const asked = await objects.call(c, source.ca.ski, async (object) => (await object.check(serial, source)).status)
    return "failure" in asked ? "unavailable" : asked.answer
  }

  return {
    ask(c, serial, source) {
      const key = `${source.ca.ski} ${serial}`
      const known = verdicts.get(key)
      const ageMs = known === undefined ? 0 : nowMs() - known.askedAtMs
      // A clock that was set back makes an answer neither younger nor older: it is asked for anew.
      if (known !== undefined && ageMs >= 0 && ageMs < REVOCATION_VERDICT_MS)
        return known.answer ?? withDeadline(known.coming, REVOCATION_TIMEOUT_MS).then(unlessLate)
      verdicts.delete(key)
      const askedAtMs = nowMs()
      const coming = askObject(c, serial, source)
      const { spans } = c.get("exchange")
      if (spans !== undefined) void coming.then((answer) => spans.add(spanOf(answer, askedAtMs, nowMs())))
      const verdict: Verdict = { askedAtMs, answer: undefined, coming }
      remember(verdicts, key, verdict, REVOCATION_VERDICTS_MAX)
      // The request that asked may be gone before the answer is there; those that joined it still wait.
      c.executionCtx.waitUntil(coming)
      return coming.then((answer) => (verdict.answer = answer))
    },
  }
}

/** The call of a CA's object in the trace of the request that made it. */
function spanOf(answer: RevocationAnswer, startMs: number, endMs: number): EndedSpan {
  const isError = answer === "unavailable"
  const attributes = isError ? { "error.type": "unavailable" } : {}
  return { name: "revocation-list", kind: "client", startMs, endMs, attributes, isError }
}

/** A request that joined another's call must not wait for one that has vanished with its request. */
function unlessLate(answer: RevocationAnswer | typeof LATE): RevocationAnswer {
  return answer === LATE ? "unavailable" : answer
}
