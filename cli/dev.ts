/**
 * `sekisho dev`: runs the gateway on this machine and shows it: where it listens, who may call, what to try, and then one
 * line per request.
 */
import { existsSync } from "node:fs"
import { join, relative } from "node:path"
import { formatEventLine, formatJsonLine } from "../examples/sink/format.ts"
import { formatSpanLine, type SinkSpan } from "../examples/sink/traces.ts"
import { formatBase } from "../src/config/resolve-origins.ts"
import { describeEnd } from "./client-rules.ts"
import { startDevelopment, type Development, type Notice } from "./development.ts"
import { BANK_ORIGIN } from "./development-variables.ts"
import { oldCertificateFile } from "./pki/rotate.ts"
import { createPaint, printable, type Paint } from "./terminal.ts"

/** Runs until interrupted; returns the exit code. */
export async function runDev(flags: {
  readonly port: number
  readonly config: string
  readonly environment: string | undefined
  readonly state: string
  readonly samples: boolean
  readonly json: boolean
  /** Spans are printed, too. */
  readonly traces: boolean
}): Promise<number> {
  const startedMs = performance.now()
  const paint = createPaint(process.stdout)
  const isColored = paint("dim", "") !== ""
  const notice = ({ level, text }: Notice): void => {
    const color = level === "error" ? "red" : level === "warn" ? "yellow" : "dim"
    ;(flags.json ? console.error : console.log)(`  ${paint(color, "·")} ${paint(color, printable(text))}`)
  }
  const printSpan = (span: SinkSpan): void =>
    console.log(flags.json ? formatJsonLine({ ...span }) : formatSpanLine(span, { color: isColored }))
  const development = await startDevelopment({
    configFile: flags.config,
    environment: flags.environment,
    port: flags.port,
    state: flags.state,
    samples: flags.samples,
    watches: true,
    paint,
    onRecord: (event) => console.log(flags.json ? formatJsonLine(event) : formatEventLine(event, { color: isColored })),
    ...(flags.traces ? { onSpan: printSpan } : {}),
    onNotice: notice,
  })
  ;(flags.json ? console.error : console.log)(formatBanner(development, flags, paint, performance.now() - startedMs))
  await interrupted()
  notice({ level: "info", text: "closing" })
  await development.close()
  return 0
}

/** Further signals within this time belong to the first: Ctrl-C reaches a whole process group, and npm hands it on again. In ms. */
const SAME_INTERRUPTION_MS = 1_000

/** Resolves at the first interruption; a later one does not wait for anything. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    let firstMs: number | undefined
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      // Miniflare would end the process here, in the middle of requests. What it cleans up at the exit stays.
      process.removeAllListeners(signal)
      process.on(signal, () => {
        if (firstMs !== undefined && performance.now() - firstMs > SAME_INTERRUPTION_MS) process.exit(130)
        firstMs ??= performance.now()
        resolve()
      })
    }
  })
}

function formatBanner(
  development: Development,
  flags: { readonly config: string; readonly samples: boolean },
  paint: Paint,
  elapsedMs: number,
): string {
  const { admin, bankUrl, config, issuerUrl, pki, sinkUrl, trailFile, url, worker } = development
  const show = (path: string): string => relative(process.cwd(), path) || path
  const fact = (name: string, value: string, note = ""): string =>
    `  ${paint("dim", name.padEnd(9))}${value}${note === "" ? "" : `  ${paint("dim", note)}`}`
  const lines = [
    "",
    `  ${paint(["bold", "cyan"], "Sekisho")} ${paint("cyan", "関所")}  ${paint("dim", `ready in ${(elapsedMs / 1_000).toFixed(1)} s`)}`,
    "",
    fact("Gateway", paint("bold", url), `mutual TLS, configured in ${show(flags.config)}`),
    fact(
      "Worker",
      `workerd on ${worker.hostname}:${worker.port}`,
      `${Math.round(worker.bundleBytes / 1_024)} KB; only the edge may talk to it`,
    ),
    ...config.origins.map(({ name, urls }) => {
      if (name === BANK_ORIGIN && bankUrl !== undefined) return fact("Origin", `${name} ${bankUrl}`, "the sample bank")
      if (name === "issuer" && issuerUrl !== undefined)
        return fact("Origin", `${name} ${issuerUrl}`, "the sample authorization server")
      return fact("Origin", `${name} ${urls.map(({ base }) => formatBase(base)).join(", ")}`)
    }),
    ...(sinkUrl === undefined
      ? config.sinks.map(({ kind, url: sink }) => fact("Sink", `${kind} ${sink}`))
      : [fact("Sink", sinkUrl, "the sample sink; it prints the lines below")]),
    ...(admin === undefined ? [] : [fact("Metrics", admin.metricsUrl, `with the token in ${show(admin.tokenPath)}`)]),
    ...(trailFile === undefined
      ? []
      : [fact("Trails", show(trailFile), "audit trails, as the sample sink keeps them")]),
    ...config.clients.flatMap(({ certificates, id }, index) => {
      const certificate = pki.clients.find((client) => client.id === id)
      const days =
        certificate === undefined
          ? "brings its own certificate"
          : `${Math.floor((certificate.notAfterMs - Date.now()) / 86_400_000)} days left`
      const oldPath = join(pki.directory, oldCertificateFile(id))
      const end = certificates.map((rule) => describeEnd(rule, Date.now())).find((text) => text !== "")
      return [
        fact(
          index === 0 ? "Clients" : "",
          `${id.padEnd(10)}${certificate === undefined ? "" : ` ${show(certificate.certificatePath)}`}`,
          days,
        ),
        // What `sekisho pki rotate` has left: whether it still passes is for the rules to say.
        ...(existsSync(oldPath) ? [fact("", `${" ".repeat(10)} ${show(oldPath)}`, end ?? "no rule retires it")] : []),
      ]
    }),
  ]
  return [
    ...lines,
    ...(flags.samples ? formatExamples(development, paint, show) : []),
    "",
    `  ${paint("dim", "Ctrl-C ends it. Requests appear below, one line each.")}`,
    "",
  ].join("\n")
}

/** The lines to paste: each shows one thing that the gateway does. */
function formatExamples(
  { admin, bankUrl, config, issuerUrl, pki, trailFile, url }: Development,
  paint: Paint,
  show: (path: string) => string,
): readonly string[] {
  const file = (path: string): string => quote(show(path))
  const ca = `curl --cacert ${file(pki.ca.certificatePath)}`
  const [first, second = first] = pki.clients
  const as = (path: string): string => `${ca} --cert ${file(path)}`
  if (first === undefined || second === undefined) return []
  const token = (path: string): string =>
    `"Authorization: Bearer $(${as(path)} -s -d grant_type=client_credentials -d scope=transfers.read ${url}/token | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')"`
  const examples: (readonly [title: string, command: string])[] = [
    ["a request that is accepted", `${as(first.certificatePath)} -i ${url}/balance`],
    ["no certificate: 401", `${ca} -i ${url}/balance`],
    ["a revoked certificate: 401", `${as(pki.specimens.revoked.certificatePath)} -i ${url}/balance`],
    ["an expired certificate: 401", `${as(pki.specimens.expired.certificatePath)} -i ${url}/balance`],
    ["a certificate of a foreign CA: 401", `${as(pki.specimens.foreign.certificatePath)} -i ${url}/balance`],
    [
      "a burst of 30 against a limit of 20: 429 with Retry-After",
      `${as(first.certificatePath)} -s -o /dev/null -w '%{http_code} retry-after=%header{retry-after}\\n' '${url}/balance?n=[1-30]'`,
    ],
    [
      // Another client than the one of the burst, whose limit would refuse the guesses before the guard does.
      "six guesses of a PIN against a guard of five: 401, then 429 with Retry-After",
      `for pin in 1111 2222 3333 4444 5555 6666; do ${as(second.certificatePath)} -s -o /dev/null -w '%{http_code} retry-after=%header{retry-after}\\n' -H 'Content-Type: application/json' -d '{"user":"treasury","pin":"'$pin'"}' ${url}/login; done`,
    ],
    [
      "a payment; the same line again gets the same answer, marked Idempotency-Replayed, and pays nothing",
      `${as(first.certificatePath)} -i -H 'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"' -H 'Content-Type: application/json' -d '{"amount":1250,"currency":"JPY","to":"globex-operating","reference":"invoice 7"}' ${url}/payments`,
    ],
    ...(trailFile === undefined || !config.routes.some(({ isAudited }) => isAudited)
      ? []
      : ([
          [
            "the trails of all this, a second later: complete and unedited",
            `npx sekisho audit verify ${file(trailFile)}`,
          ],
        ] as const)),
    // The samples of a configuration of one's own may have no issuer.
    ...(issuerUrl === undefined
      ? []
      : ([
          ["no access token where one is needed: 401", `${as(first.certificatePath)} -i ${url}/transfers`],
          [
            "an access token, issued to this certificate",
            `${as(first.certificatePath)} -i -H ${token(first.certificatePath)} ${url}/transfers`,
          ],
          [
            "the same of another client: 401",
            `${as(second.certificatePath)} -i -H ${token(first.certificatePath)} ${url}/transfers`,
          ],
        ] as const)),
  ]
  if (bankUrl !== undefined && config.routes.some(({ label }) => label === "/ws")) {
    examples.push(
      ["a stream, line by line", `${as(first.certificatePath)} -N ${url}/accounts/acme-operating/statements`],
      [
        "a WebSocket that says the time for 5 s: 101, then frames as they come",
        `${as(first.certificatePath)} -i -N --http1.1 --max-time 5 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' '${url}/ws?tick=1'`,
      ],
    )
  }
  const isProven = config.origins.some(({ assertion, name }) => name === BANK_ORIGIN && assertion !== undefined)
  if (bankUrl !== undefined && isProven)
    examples.push([
      "past the gateway, straight to the bank, which wants the gateway's proof: 401",
      `curl -i -H 'X-Client-Id: ${first.id}' ${bankUrl}/balance`,
    ])
  if (admin !== undefined) {
    examples.push([
      "what has been counted so far, for Prometheus",
      `${ca} -H "Authorization: Bearer $(cat ${file(admin.tokenPath)})" ${admin.metricsUrl}`,
    ])
  }
  return [
    "",
    `  ${paint("dim", "Try, in another terminal and from this directory:")}`,
    ...examples.flatMap(([title, command]) => ["", `  ${paint("dim", `# ${title}`)}`, `  ${command}`]),
  ]
}

/** Returns a word as a shell reads it back. */
function quote(word: string): string {
  return /^[\w./@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
