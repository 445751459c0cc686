/**
 * The samples that stand in for everybody else while the gateway runs on one machine: a bank, an issuer of tokens, and a sink.
 */
import { appendFile } from "node:fs/promises"
import { startBank } from "../examples/bank/server.ts"
import { startIssuer, type Issuer } from "../examples/issuer/server.ts"
import { startSink } from "../examples/sink/server.ts"
import type { SinkSpan } from "../examples/sink/traces.ts"
import type { Config } from "../src/config/config.ts"
import type { BankProof } from "./bank-proof.ts"
import { BANK_ORIGIN, ISSUER_ORIGIN, ISSUER_TOKENS, type SampleUrls } from "./development-variables.ts"
import type { Notice } from "./edge-notices.ts"
import { printable } from "./terminal.ts"

/** Who is told about what reaches the samples. */
export interface SampleListeners {
  readonly onRecord: (event: Readonly<Record<string, unknown>>) => void
  readonly onSpan?: ((span: SinkSpan) => void) | undefined
  readonly onNotice: (notice: Notice) => void
}

/** What runs, and how to end what is worth doing without. */
export interface Samples extends SampleUrls {
  readonly stopBank: () => Promise<void>
  readonly stopSink: () => Promise<void>
}

const LOOPBACK = "127.0.0.1"

/** No samples. */
export const NO_SAMPLES: Samples = {
  bankUrl: undefined,
  issuerUrl: undefined,
  sink: undefined,
  stopBank: async () => {},
  stopSink: async () => {},
}

/**
 * Starts the samples that the configuration has a place for. How to end each of them goes to `closers` as soon as it runs.
 *
 * @param trailFile where the sink keeps audit trails
 */
export async function startSamples(
  config: Config,
  trailFile: string,
  proof: BankProof,
  { onNotice, onRecord, onSpan }: SampleListeners,
  closers: (() => Promise<void>)[],
): Promise<Samples> {
  const sink = await startSink({
    host: LOOPBACK,
    port: 0,
    onRecord,
    onSpan,
    onTrail: (lines) => appendFile(trailFile, lines, { flush: true }),
  })
  const stopSink = once(() => sink.close())
  closers.push(stopSink)
  const bank = config.origins.some(({ name }) => name === BANK_ORIGIN)
    ? await startBank({
        host: LOOPBACK,
        port: 0,
        prove: (request) => proof.prove(request),
        onUnproven: ({ method, url = "" }, reason) => {
          onNotice({ level: "warn", text: `the bank refused ${method} ${printable(url)}: ${reason}` })
        },
      })
    : undefined
  const stopBank = once(async () => bank?.close())
  closers.push(stopBank)
  const issuer = await startSampleIssuer(config)
  closers.push(async () => issuer?.close())
  const urlOf = (port: number, path = ""): string => `http://${LOOPBACK}:${port}${path}`
  return {
    bankUrl: bank && urlOf(bank.port),
    issuerUrl: issuer && urlOf(issuer.port),
    sink: {
      eventsUrl: urlOf(sink.port, "/v1/logs"),
      trailUrl: urlOf(sink.port, "/audit"),
      spansUrl: onSpan && urlOf(sink.port, "/v1/traces"),
    },
    stopBank,
    stopSink,
  }
}

/** Starts the sample issuer where the configuration has a place for it: it issues what the gateway expects. */
async function startSampleIssuer({ authorizationServers, origins }: Config): Promise<Issuer | undefined> {
  const server = authorizationServers.find(({ name }) => name === ISSUER_TOKENS)
  if (server === undefined || !origins.some(({ name }) => name === ISSUER_ORIGIN)) return undefined
  const { audience, issuer } = server
  const [first = ""] = audience.kind === "sole" ? [audience.value] : audience.values
  return startIssuer({ host: LOOPBACK, port: 0, issuer, audience: first })
}

function once(close: () => Promise<void>): () => Promise<void> {
  let closing: Promise<void> | undefined
  return () => (closing ??= close())
}
