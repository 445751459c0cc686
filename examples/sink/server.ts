/**
 * The sample sink: takes the gateway's events in every form that it sends, OTLP/HTTP with JSON, NDJSON or as Loki does, and its spans
 * as OTLP/HTTP with JSON, and prints one line for each. Bounded: 4 MiB per request, before and after decompression. A request is taken whole or refused,
 * so that a sender who repeats a refused one makes no duplicates.
 *
 *   node examples/sink/server.ts --port 4318 [--json] [--traces]
 */
import { fileURLToPath } from "node:url"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { parseArgs, promisify } from "node:util"
import { gunzip } from "node:zlib"
import { formatEventLine, formatJsonLine } from "./format.ts"
import { parseLokiPush } from "./loki.ts"
import { parseLogsExport, type SinkEvent } from "./otlp.ts"
import { formatSpanLine, parseTracesExport, type SinkSpan } from "./traces.ts"
import { listen, type Listening } from "../listen.ts"
import { readBody } from "../read-body.ts"

/** Where to listen (port 0 takes any free one), and who is told of each event and span, in the order of arrival. */
export interface SinkOptions {
  readonly host: string
  readonly port: number
  readonly onRecord: (event: SinkEvent) => void
  /**
   * Keeps lines of audit trails, octet by octet as they came, each with its line feed: a line that is written anew is another
   * one. They are acknowledged once it resolves. Without it trails are refused.
   */
  readonly onTrail?: ((lines: string) => Promise<void>) | undefined
  readonly onSpan?: ((span: SinkSpan) => void) | undefined
}

/** A sink that takes events. */
export type Sink = Listening

/** Largest body in octets, as sent and as decompressed. */
export const SINK_BYTES_MAX = 4_194_304

const PROBLEMS = {
  "body-malformed": { status: 400, title: "The body is not what its media type says" },
  "not-found": { status: 404, title: "There is nothing here" },
  "method-not-allowed": { status: 405, title: "Events are sent with POST" },
  "body-too-large": { status: 413, title: "The body is too large" },
  "media-type-unsupported": { status: 415, title: "The body has another media type" },
  "content-coding-unsupported": { status: 415, title: "The body has another content coding than gzip" },
  "internal-error": { status: 500, title: "The sink failed to take the events" },
} as const

type ProblemCode = keyof typeof PROBLEMS

/** What came of reading a body: its events and spans and the answer to them, undefined for one without content, or a refusal. */
type Intake =
  | { readonly events: readonly SinkEvent[]; readonly spans?: readonly SinkSpan[]; readonly answer: unknown }
  | { readonly problem: ProblemCode; readonly detail: string }

/** One way to send events. */
interface Door {
  readonly mediaType: string
  readonly read: (text: string) => Intake
}

/** Where trails go. They are kept, not read: whether they hold is for `sekisho audit verify` to say. */
const TRAIL_DOOR = "/audit"
const DOORS: Readonly<Record<string, Door>> = {
  "/v1/logs": { mediaType: "application/json", read: readLogsExport },
  "/v1/traces": { mediaType: "application/json", read: readTracesExport },
  "/loki/api/v1/push": { mediaType: "application/json", read: readLokiPush },
  "/ndjson": { mediaType: "application/x-ndjson", read: readLines },
  [TRAIL_DOOR]: { mediaType: "application/x-ndjson", read: readLines },
}

/** Starts the sink; settles once it accepts connections, fails when the port is taken. */
export async function startSink({ host, port, ...takers }: SinkOptions): Promise<Sink> {
  const server = createServer((request, response) => {
    take(request, response, takers).catch((error: unknown) => {
      // The sender left in the middle of a body; there is nobody to tell.
      if (response.destroyed) return
      console.error("sink:", error)
      sendProblem(response, "internal-error")
    })
  })
  return listen(server, host, port)
}

async function take(
  request: IncomingMessage,
  response: ServerResponse,
  { onRecord, onSpan, onTrail }: Pick<SinkOptions, "onRecord" | "onSpan" | "onTrail">,
): Promise<void> {
  const path = request.url?.split("?", 1)[0] ?? ""
  const isTrail = path === TRAIL_DOOR
  const door = Object.hasOwn(DOORS, path) && !(isTrail && onTrail === undefined) ? DOORS[path] : undefined
  if (door === undefined) return sendProblem(response, "not-found")
  if (request.method !== "POST") return sendProblem(response, "method-not-allowed")
  const mediaType = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase()
  if (mediaType !== door.mediaType) return sendProblem(response, "media-type-unsupported", door.mediaType)
  const coding = request.headers["content-encoding"]?.trim().toLowerCase() ?? "identity"
  if (coding !== "identity" && coding !== "gzip") return sendProblem(response, "content-coding-unsupported")
  const sent = await readBody(request, SINK_BYTES_MAX)
  const body = sent !== undefined && coding === "gzip" ? await decompress(sent) : sent
  if (body === undefined) return sendProblem(response, "body-too-large", `at most ${SINK_BYTES_MAX} octets`)
  const text = body === "damaged" ? undefined : decodeUtf8(body)
  if (text === undefined) return sendProblem(response, "body-malformed", "gzip or UTF-8 is damaged")
  const intake = door.read(text)
  if ("problem" in intake) return sendProblem(response, intake.problem, intake.detail)
  if (isTrail) await onTrail?.(text.endsWith("\n") ? text : `${text}\n`)
  else for (const event of intake.events) onRecord(event)
  for (const span of intake.spans ?? []) onSpan?.(span)
  if (intake.answer === undefined) response.writeHead(204).end()
  else send(response, 200, "application/json", intake.answer)
}

/** @see https://opentelemetry.io/docs/specs/otlp/ (OTLP/HTTP Response, Partial Success) */
function readLogsExport(text: string): Intake {
  const logs = parseLogsExport(parseJson(text))
  if (logs === undefined) return { problem: "body-malformed", detail: "no ExportLogsServiceRequest in JSON" }
  const { events, rejected } = logs
  if (rejected === 0) return { events, answer: { partialSuccess: {} } }
  const errorMessage = "A log record is an object whose attributes are pairs of key and value"
  return { events, answer: { partialSuccess: { rejectedLogRecords: String(rejected), errorMessage } } }
}

function readTracesExport(text: string): Intake {
  const traces = parseTracesExport(parseJson(text))
  if (traces === undefined) return { problem: "body-malformed", detail: "no ExportTraceServiceRequest in JSON" }
  const { rejected, spans } = traces
  if (rejected === 0) return { events: [], spans, answer: { partialSuccess: {} } }
  const errorMessage =
    "A span has a trace id and a span id in hex, a name, and attributes that are pairs of key and value"
  return { events: [], spans, answer: { partialSuccess: { rejectedSpans: String(rejected), errorMessage } } }
}

function readLokiPush(text: string): Intake {
  const events = parseLokiPush(parseJson(text))
  if (events === undefined) return { problem: "body-malformed", detail: "no push whose lines are JSON objects" }
  return { events, answer: undefined }
}

function readLines(text: string): Intake {
  const events: SinkEvent[] = []
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue
    const event = parseJson(line)
    if (typeof event !== "object" || event === null || Array.isArray(event)) {
      return { problem: "body-malformed", detail: `line ${index + 1} is not a JSON object` }
    }
    events.push({ ...event })
  }
  return { events, answer: { accepted: events.length } }
}

const gunzipAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip)

/** Undefined when the contents are longer than the bound: a small body may hold a thousand times its size. */
async function decompress(body: Buffer): Promise<Buffer | "damaged" | undefined> {
  try {
    return await gunzipAsync(body, { maxOutputLength: SINK_BYTES_MAX })
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE" ? undefined : "damaged"
  }
}

function decodeUtf8(octets: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(octets)
  } catch {
    return undefined
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @see RFC 9457 */
function sendProblem(response: ServerResponse, code: ProblemCode, detail?: string): void {
  const { status, title } = PROBLEMS[code]
  if (status === 405) response.setHeader("Allow", "POST")
  // What is left of a body that is too large is not worth reading.
  if (status === 413) response.setHeader("Connection", "close")
  send(response, status, "application/problem+json", {
    type: `urn:sample-sink:problem:${code}`,
    title,
    status,
    code,
    detail,
  })
}

function send(response: ServerResponse, status: number, mediaType: string, value: unknown): void {
  const body = JSON.stringify(value)
  response.writeHead(status, { "Content-Type": mediaType, "Content-Length": String(Buffer.byteLength(body)) })
  response.end(body)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      host: { type: "string", default: "127.0.0.1" },
      port: { type: "string", default: "4318" },
      json: { type: "boolean", default: false },
      traces: { type: "boolean", default: false },
    },
  })
  const { stdout } = process
  const color = stdout.isTTY && (process.env["NO_COLOR"] ?? "") === ""
  const sink = await startSink({
    host: values.host,
    port: Number(values.port),
    onRecord(event) {
      // Read anew for each line: the window may have been resized.
      const look = stdout.isTTY ? { color, width: stdout.columns } : { color }
      stdout.write(`${values.json ? formatJsonLine(event) : formatEventLine(event, look)}\n`)
    },
    onSpan(span) {
      if (values.traces)
        stdout.write(`${values.json ? formatJsonLine({ ...span }) : formatSpanLine(span, { color })}\n`)
    },
  })
  console.error(
    `The sample sink takes events at http://${values.host}:${sink.port}/v1/logs, /ndjson and /loki/api/v1/push, spans at /v1/traces`,
  )
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void sink.close())
}
