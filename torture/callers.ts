/**
 * Callers that make payments, each under a key of its own, and repeat what they were not told about until they know.
 */
import { randomUUID } from "node:crypto"
import { Agent, request as startRequest, type RequestOptions } from "node:https"
import type { Random } from "../simulation/random.ts"
import type { Told } from "./reconcile.ts"

/** Where callers call, and who they are. */
export interface Destination {
  readonly port: number
  readonly identity: Pick<RequestOptions, "ca" | "cert" | "key">
}

/** The payments of one caller. */
export interface Caller {
  /** What it was told so far, a line for each payment. */
  told(): readonly Told[]
  /** Makes payments until told to stop; those that are in progress somewhere are asked about between others. */
  payUntil(stopped: AbortSignal): Promise<void>
  /** Asks about payments that are still open until there are none, or the time is up. */
  settle(timeIsUp: AbortSignal): Promise<void>
}

interface Payment {
  readonly payment: string
  readonly key: string
  verdict: Told["verdict"]
  readonly receipts: string[]
  firstId: string | undefined
  askAtMs: number
}

/** How long a caller waits before it asks again, in ms: as gateways ask, or this. */
const AGAIN_MS = 200
/** Share of acknowledged payments that are repeated all the same, as a caller does that has lost its memory. */
const REPEATED = 0.2

/** Returns a caller that has paid nothing. */
export function createCaller({ identity, port }: Destination, random: Random): Caller {
  const payments: Payment[] = []
  const open = new Set<Payment>()
  const agent = new Agent({ ...identity, keepAlive: true, maxSockets: 1 })

  async function ask(payment: Payment): Promise<void> {
    const answer = await call(port, agent, payment)
    payment.askAtMs = Date.now() + AGAIN_MS
    if (answer?.status === 201) {
      const { receipt } = JSON.parse(answer.body) as { readonly receipt: string }
      payment.receipts.push(receipt)
      if (!answer.isReplay) payment.firstId = answer.id
      payment.verdict = "acknowledged"
    } else if (answer?.status === 409 && answer.body.includes("idempotency-indeterminate")) {
      if (payment.verdict === "open") payment.verdict = "unknown"
    } else return
    open.delete(payment)
  }

  async function askOpen(): Promise<void> {
    for (const payment of open) if (payment.askAtMs <= Date.now()) await ask(payment)
  }

  return {
    told: () => payments.map(({ firstId, payment, receipts, verdict }) => ({ firstId, payment, receipts, verdict })),
    async payUntil(stopped) {
      while (!stopped.aborted) {
        const payment: Payment = {
          payment: randomUUID(),
          key: randomUUID(),
          verdict: "open",
          receipts: [],
          firstId: undefined,
          askAtMs: 0,
        }
        payments.push(payment)
        open.add(payment)
        await ask(payment)
        if (payment.verdict === "acknowledged" && random.chance(REPEATED)) await ask(payment)
        if (open.has(payment)) await pause()
        await askOpen()
      }
    },
    async settle(timeIsUp) {
      while (open.size > 0 && !timeIsUp.aborted) {
        await askOpen()
        await pause()
      }
      agent.destroy()
    },
  }
}

interface Answer {
  readonly status: number
  readonly id: string
  readonly isReplay: boolean
  readonly body: string
}

/** Returns the answer; undefined when there was none, or only a part. */
function call(port: number, agent: Agent, { key, payment }: Payment): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const request = startRequest(
      {
        agent,
        host: "127.0.0.1",
        port,
        servername: "localhost",
        method: "POST",
        path: "/payments",
        timeout: 20_000,
        headers: { Host: "localhost", "Content-Type": "application/json", "Idempotency-Key": `"${key}"` },
      },
      (response) => {
        response.toArray().then(
          (parts: readonly Buffer[]) =>
            resolve({
              status: response.statusCode ?? 0,
              id: String(response.headers["x-request-id"]),
              isReplay: response.headers["idempotency-replayed"] === "true",
              body: Buffer.concat(parts).toString(),
            }),
          () => resolve(undefined),
        )
      },
    )
    request.on("error", () => resolve(undefined))
    request.on("timeout", () => request.destroy())
    request.end(JSON.stringify({ payment }))
  })
}

function pause(): Promise<void> {
  return new Promise((done) => setTimeout(done, AGAIN_MS / 4))
}
