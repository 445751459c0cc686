/**
 * A CA's server of revocation lists as tests drive it: what it publishes, how often it was asked, and where it is.
 */
import type { RevocationSource } from "../../src/core/certificate/revocation.ts"
import { fixtures } from "./harness.ts"
import type { CrlPlan } from "./provided.ts"

const HOUR_MS = 3_600_000

/** One place where lists are published. */
export interface Publisher {
  readonly url: string
  readonly source: RevocationSource
  /** Publishes a list: by default a good one of this CA without entries, from an hour ago until an hour from now. */
  publish(plan?: Partial<CrlPlan>): Promise<void>
  /** How often the list was fetched. */
  fetches(): Promise<number>
}

/** Returns a new place of a CA; nothing is published there yet. Its source names a CA that no other place has. */
export function createPublisher(signer = "p256-sha256"): Publisher {
  const name = crypto.randomUUID()
  const url = `http://127.0.0.1:${fixtures.crlPort}/${name}`
  const ca = fixtures.crlCas[signer]
  if (ca === undefined) throw new Error(`There is no CA ${signer}`)
  const source = { issuer: name, url, refreshMs: HOUR_MS, ca: { ...ca, ski: name } }
  return {
    url,
    source,
    async publish(plan = {}) {
      const nowMs = Date.now()
      const times = { thisUpdateMs: nowMs - HOUR_MS, nextUpdateMs: nowMs + HOUR_MS }
      const body = JSON.stringify({ signer, serials: [], ...times, ...plan } satisfies CrlPlan)
      await fetch(url, { method: "POST", body })
    },
    async fetches() {
      const response = await fetch(`${url}?fetches`)
      return Number(await response.text())
    },
  }
}
