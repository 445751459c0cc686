/**
 * The whole road under load while workerd is killed and the sink of audit trails fails, and what three accounts say afterwards.
 *
 * Callers make payments over real mutual TLS; a bank carries out every request that reaches it; workerd dies by SIGKILL at moments that a
 * seed decides. When all is over the bank's ledger, what the callers were told and the delivered trails are reconciled.
 */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { startDevelopment, type Development } from "../cli/development.ts"
import type { Paint } from "../cli/terminal.ts"
import { parseAuditLine } from "../src/core/audit/audit-record.ts"
import { createRandom } from "../simulation/random.ts"
import { startBank, type Bank } from "./bank.ts"
import { createCaller, type Caller } from "./callers.ts"
import { reconcile, type Reconciliation } from "./reconcile.ts"
import { SINK_MOODS, startTrailSink, type TrailSink } from "./trail-sink.ts"

/** How hard, and for how long. */
export interface TortureOptions {
  /** How often workerd is killed. */
  readonly kills: number
  readonly callers: number
  /** Decides when it is killed, how the sink behaves and what callers repeat. What the machine does in between is its own. */
  readonly seed: number
  /** Wait until every payment is known or known to be unknown: the deadline of an attempt is some 45 s after its crash. */
  readonly settles: boolean
  /** Directory for certificates and state; the caller removes it. */
  readonly state: string
  readonly paint: Paint
  /** Told how it stands after each kill. */
  readonly onProgress: (progress: TortureProgress) => void
}

/** How it stands. */
export interface TortureProgress {
  readonly kills: number
  readonly mood: string
  readonly payments: number
  readonly acknowledged: number
  readonly lines: number
}

/** What came of it. */
export interface TortureReport extends Reconciliation {
  readonly kills: number
  readonly payments: number
  readonly acknowledged: number
  readonly unknown: number
  readonly open: number
  readonly executions: number
  readonly lines: number
}

const ROOT = join(import.meta.dirname, "..")
const CLIENTS = ["acme", "globex"] as const
/** Between two kills, ms after workerd is back. */
const LIFE_MS = { min: 150, max: 1_500 }
/** How long the sink stays in one mood, in ms. */
const MOOD_MS = { min: 200, max: 2_000 }
/** How long the bank thinks, in ms. */
const THINKING_MS = { min: 0, max: 40 }
/** Longest wait for payments to be known, and for the trails to arrive: a sink is asked again within a minute. */
const SETTLE_MS = 120_000
const DELIVERY_MS = 150_000

/** Runs it. Rejects when the road cannot be started, or trails do not arrive in time. */
export async function runTorture(options: TortureOptions): Promise<TortureReport> {
  const { callers: count, kills, onProgress, seed, settles } = options
  const random = createRandom(seed, "torture")
  const bank = await startBank(() => random.integer(THINKING_MS.min, THINKING_MS.max))
  const sink = await startTrailSink()
  let returned: () => void = () => {}
  const development = await startRoad(options, bank, sink, () => returned())
  try {
    const callers = await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const client = CLIENTS[index % CLIENTS.length] ?? CLIENTS[0]
        return createCaller(await destinationOf(development, client), createRandom(seed, `caller ${index}`))
      }),
    )
    const stopped = new AbortController()
    const paying = callers.map(async (caller) => caller.payUntil(stopped.signal))
    const moods = changeMoods(sink, seed, stopped.signal)
    for (let killed = 1; killed <= kills; killed++) {
      await delay(random.integer(LIFE_MS.min, LIFE_MS.max))
      const isBack = new Promise<void>((resolve) => (returned = resolve))
      for (const pid of workerdChildren()) process.kill(pid, "SIGKILL")
      await isBack
      onProgress({ kills: killed, mood: sink.mood, ...tally(callers), lines: sink.lines.length })
    }
    stopped.abort()
    await Promise.all([...paying, moods])
    sink.mood = "takes"
    await Promise.all(callers.map(async (caller) => caller.settle(AbortSignal.timeout(settles ? SETTLE_MS : 0))))
    await awaitTrails(development, sink)
    const told = callers.flatMap((caller) => caller.told())
    const { acknowledged, payments } = tally(callers)
    return {
      ...reconcile(bank.executions, told, sink.lines, (text) => createHash("sha256").update(text).digest("hex")),
      kills,
      payments,
      acknowledged,
      unknown: told.filter(({ verdict }) => verdict === "unknown").length,
      open: told.filter(({ verdict }) => verdict === "open").length,
      executions: bank.executions.length,
      lines: sink.lines.length,
    }
  } finally {
    await development.close()
    await Promise.all([bank.close(), sink.close()])
  }
}

function startRoad(
  { paint, state }: TortureOptions,
  bank: Bank,
  sink: TrailSink,
  onReturn: () => void,
): Promise<Development> {
  return startDevelopment({
    configFile: join(ROOT, "wrangler.toml"),
    environment: undefined,
    port: 0,
    state,
    samples: false,
    watches: false,
    overrides: {
      GATEWAY: { hosts: ["localhost"], console: false, log_flush: "50ms", idempotency: { keys: ["IDEMPOTENCY_KEY"] } },
      ORIGINS: { bank: { url: bank.url, timeout: "1s" } },
      TOKENS: undefined,
      GUARDS: undefined,
      LIMITS: { payments: { rate: "5000/s", burst: 5_000 } },
      ROUTES: [
        {
          path: "/payments",
          methods: ["POST"],
          origin: "bank",
          limits: "payments",
          idempotency: "required",
          audit: "required",
        },
      ],
      SINKS: [{ kind: "ndjson", url: sink.url, takes: ["audit"], gzip: true }],
    },
    paint,
    onRecord: () => {},
    onNotice: ({ text }) => {
      if (text.includes("started again")) onReturn()
    },
  })
}

async function destinationOf({ pki, port }: Development, client: string): Promise<Parameters<typeof createCaller>[0]> {
  const files = pki.clients.find(({ id }) => id === client)
  if (files === undefined) throw new Error(`There is no certificate of ${client}`)
  const [ca, cert, key] = await Promise.all(
    [pki.ca.certificatePath, files.certificatePath, files.keyPath].map((path) => readFile(path, "utf8")),
  )
  if (ca === undefined || cert === undefined || key === undefined) throw new Error("A certificate cannot be read")
  return { port, identity: { ca, cert, key } }
}

/** Lets the sink fail in turn, until told to stop. */
async function changeMoods(sink: TrailSink, seed: number, stopped: AbortSignal): Promise<void> {
  const random = createRandom(seed, "sink")
  while (!stopped.aborted) {
    sink.mood = random.pick(SINK_MOODS)
    await delay(random.integer(MOOD_MS.min, MOOD_MS.max), undefined, { signal: stopped }).catch(() => {})
  }
}

/**
 * Resolves once every trail has arrived to its end: a last payment of each client is on its trail behind everything else, and trails
 * are delivered in order.
 */
async function awaitTrails(development: Development, sink: TrailSink): Promise<void> {
  const untilMs = Date.now() + DELIVERY_MS
  for (const client of CLIENTS) {
    const last = createCaller(await destinationOf(development, client), createRandom(0, "last"))
    const once = new AbortController()
    const paid = last.payUntil(once.signal)
    once.abort()
    await paid
    await last.settle(AbortSignal.timeout(SETTLE_MS))
    const [told] = last.told()
    const isThere = (): boolean =>
      sink.lines.some((text) => {
        const parsed = parseAuditLine(text)
        return parsed.ok && parsed.record.kind === "outcome" && parsed.record.request_id === told?.firstId
      })
    while (!isThere()) {
      if (Date.now() > untilMs) throw new Error(`The trail of ${client} has not arrived in ${DELIVERY_MS} ms`)
      await delay(250)
    }
  }
}

function tally(callers: readonly Caller[]): { readonly payments: number; readonly acknowledged: number } {
  const told = callers.flatMap((caller) => caller.told())
  return { payments: told.length, acknowledged: told.filter(({ verdict }) => verdict === "acknowledged").length }
}

/** Returns the process ids of this process's children that run workerd. */
function workerdChildren(): readonly number[] {
  return execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" })
    .split("\n")
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [])
    .filter(([, , ppid, args]) => Number(ppid) === process.pid && args?.includes("workerd") === true)
    .map(([, pid]) => Number(pid))
}
