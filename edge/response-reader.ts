/**
 * The Worker's answers, octet by octet: head, framing and body of one response after the other on a connection.
 *
 * It reads what workerd writes and nothing that could be read in two ways: an answer with a fault ends its connection. Pure but
 * for what it remembers of the response in progress; called by `edge/worker-pool.ts`.
 *
 * @see RFC 9112 §4, §5, §6, §7
 */

/** The head of a response; names and values in turn. */
export interface ResponseHead {
  readonly status: number
  readonly reason: string
  readonly rawHeaders: readonly string[]
}

/** Who is told what was read: first the head, then parts of the body. Interim responses are not told. */
export interface ResponseReceiver {
  onHead(head: ResponseHead): void
  onBody(part: Buffer): void
}

/** Reads one response. */
export interface ResponseReader {
  /** True once the response is complete. */
  readonly isComplete: boolean
  /** True when the connection may carry another request: its response says where it ends, and nothing stands behind it. */
  readonly isReusable: boolean
  /** What followed the head of a 101; undefined without one. */
  readonly switched: Buffer | undefined
  /** Takes octets. Returns what is wrong with them; no more may be read then. */
  read(chunk: Buffer): string | undefined
  /** Takes the end of the connection. Returns what is wrong with that. */
  end(): string | undefined
}

/** Longest header section and longest trailer section, in octets. */
const SECTION_BYTES_MAX = 16_384
/** Longest line that announces a chunk: what hexadecimal digits an exact integer may have. Extensions are nothing that workerd sends. */
const CHUNK_SIZE_DIGITS_MAX = 13
/** Most interim responses before the final one. */
const INTERIM_MAX = 16

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/
const CHUNK_SIZE = /^[0-9A-Fa-f]+$/
const NOTHING = Buffer.alloc(0)

type State = "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailer" | "until-close" | "complete"

/** Returns a reader of the response to a request with this method. */
export function createResponseReader(method: string, receiver: ResponseReceiver): ResponseReader {
  let state: State = "head"
  /** Octets of a head or a line that is not whole yet. */
  let pending: Buffer = NOTHING
  /** Octets of the body, or of the chunk, that are still to come. */
  let left = 0
  let interims = 0
  let trailerBytes = 0
  let isPersistent = false
  let hasMore = false
  let switched: Buffer | undefined

  /** Returns the fault, or what of the chunk was not used up. */
  function step(chunk: Buffer): string | Buffer {
    switch (state) {
      case "head":
        return readHead(chunk)
      case "length":
      case "chunk": {
        const part = chunk.length > left ? chunk.subarray(0, left) : chunk
        left -= part.length
        receiver.onBody(part)
        if (left === 0) {
          state = state === "length" ? "complete" : "chunk-end"
        }
        return chunk.subarray(part.length)
      }
      case "until-close":
        receiver.onBody(chunk)
        return NOTHING
      case "chunk-size":
        return readLine(chunk, CHUNK_SIZE_DIGITS_MAX, (line) => {
          if (!CHUNK_SIZE.test(line)) return "no chunk size"
          left = Number.parseInt(line, 16)
          state = left === 0 ? "trailer" : "chunk"
          return undefined
        })
      case "chunk-end":
        return readLine(chunk, 0, () => {
          state = "chunk-size"
          return undefined
        })
      case "trailer":
        return readLine(chunk, SECTION_BYTES_MAX - trailerBytes, (line) => {
          trailerBytes += line.length
          if (line === "") state = "complete"
          return undefined
        })
      case "complete":
        hasMore = true
        return NOTHING
    }
  }

  /** Collects a line of at most so many octets; what follows it is left over. */
  function readLine(chunk: Buffer, bytesMax: number, take: (line: string) => string | undefined): string | Buffer {
    const octets = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    const end = octets.indexOf("\r\n")
    if (end > bytesMax || (end < 0 && octets.length > bytesMax + 1)) return "line too long"
    if (end < 0) {
      pending = octets
      return NOTHING
    }
    pending = NOTHING
    return take(octets.toString("latin1", 0, end)) ?? octets.subarray(end + 2)
  }

  function readHead(chunk: Buffer): string | Buffer {
    const octets = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    const end = octets.indexOf("\r\n\r\n")
    if (end > SECTION_BYTES_MAX || (end < 0 && octets.length > SECTION_BYTES_MAX)) return "header section too large"
    if (end < 0) {
      pending = octets
      return NOTHING
    }
    pending = NOTHING
    const [statusLine = "", ...lines] = octets.toString("latin1", 0, end).split("\r\n")
    const rest = octets.subarray(end + 4)
    const [, minor, digits, reason = ""] = STATUS_LINE.exec(statusLine) ?? []
    if (digits === undefined) return "no status line"
    const status = Number(digits)
    const rawHeaders: string[] = []
    for (const line of lines) {
      const colon = line.indexOf(":")
      const name = line.slice(0, Math.max(0, colon))
      const value = trim(line.slice(colon + 1))
      if (!TOKEN.test(name) || !VALUE.test(value)) return "malformed field"
      rawHeaders.push(name, value)
    }
    if (status === 101) {
      switched = rest
      state = "complete"
      receiver.onHead({ status, reason, rawHeaders })
      return NOTHING
    }
    if (status < 200) return ++interims > INTERIM_MAX ? "too many interim responses" : rest
    const framing = decideFraming(method, status, minor === "1", rawHeaders)
    if (typeof framing === "string") return framing
    ;({ left, state } = framing)
    isPersistent = framing.state !== "until-close" && minor === "1" && !saysClose(rawHeaders)
    receiver.onHead({ status, reason, rawHeaders })
    return rest
  }

  return {
    get isComplete() {
      return state === "complete" && switched === undefined
    },
    get isReusable() {
      return state === "complete" && isPersistent && !hasMore
    },
    get switched() {
      return switched
    },
    read(chunk) {
      let rest = chunk
      while (rest.length > 0) {
        const result = step(rest)
        if (typeof result === "string") return result
        rest = result
      }
      return undefined
    },
    end() {
      if (state === "until-close") state = "complete"
      return state === "complete" ? undefined : state === "head" ? "closed without an answer" : "cut short"
    },
  }
}

/** Returns how the body ends, or why nobody can know. @see RFC 9112 §6.3 */
function decideFraming(
  method: string,
  status: number,
  isHttp11: boolean,
  rawHeaders: readonly string[],
): { readonly state: State; readonly left: number } | string {
  const codings = valuesOf(rawHeaders, "transfer-encoding")
  const lengths = valuesOf(rawHeaders, "content-length")
  if (codings.length > 0 && lengths.length > 0) return "ambiguous framing"
  const [length] = lengths
  if (length !== undefined && (lengths.length > 1 || !/^[0-9]+$/.test(length) || !Number.isSafeInteger(Number(length))))
    return "malformed Content-Length"
  if (codings.length > 0 && (codings.length > 1 || codings[0]?.toLowerCase() !== "chunked" || !isHttp11))
    return "unknown Transfer-Encoding"
  if (method === "HEAD" || status === 204 || status === 304) return { state: "complete", left: 0 }
  if (codings.length > 0) return { state: "chunk-size", left: 0 }
  if (length === undefined) return { state: "until-close", left: 0 }
  return { state: Number(length) === 0 ? "complete" : "length", left: Number(length) }
}

function saysClose(rawHeaders: readonly string[]): boolean {
  return valuesOf(rawHeaders, "connection").some((value) => /(?:^|[\t ,])close(?:$|[\t ,])/i.test(value))
}

function valuesOf(rawHeaders: readonly string[], key: string): readonly string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ""
    if (name.length === key.length && name.toLowerCase() === key) values.push(rawHeaders[i + 1] ?? "")
  }
  return values
}

/** Returns a value without the white space around it. By hand: an expression could take quadratic time. */
function trim(value: string): string {
  let start = 0
  let end = value.length
  while (start < end && isBlank(value.charCodeAt(start))) start++
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--
  return value.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
