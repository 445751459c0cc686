/**
 * What one isolate knows of the keys of authorization servers, and how it learns them.
 *
 * When to fetch, and how long keys serve, is `core/token/key-set.ts`; which keys are good is `core/token/json-web-key.ts`. Here are the
 * call and those who wait for it: one call at a time for all requests, bounded in time and octets, that follows no redirect
 * and takes nothing but JSON. A call is kept alive by the request that started it; everybody who waits has a deadline of
 * his own. What a call gets wrong is written to the console, because no event of a request may be about it.
 */
import type { AuthorizationServer } from "../config/config.ts"
import type { Gateway, GatewayContext } from "../context.ts"
import { TOKEN_KEYS_BYTES_MAX, TOKEN_KEYS_PER_ID_MAX, TOKEN_KEYS_TIMEOUT_MS } from "../core/bounds.ts"
import { parseKeySet, type PublicKey } from "../core/token/json-web-key.ts"
import {
  acceptKeys,
  askKey,
  EMPTY_KEY_SET,
  noteFailure,
  standingOfKey,
  type KeySetState,
} from "../core/token/key-set.ts"
import { LATE, withDeadline } from "../deadline.ts"

/** The keys of one id, at most three: sets in use give one id to keys of several types. Or why there are none. */
export type KeysFound =
  | { readonly kind: "known"; readonly keys: readonly PublicKey[] }
  | { readonly kind: "unknown" }
  | { readonly kind: "unavailable" }

/** The key sets of one isolate. */
export interface KeySets {
  /** Returns the keys of an id, at once unless they have to be fetched. The same key is the same object. Never rejects. */
  find(c: GatewayContext, server: AuthorizationServer, kid: string): KeysFound | Promise<KeysFound>
}

interface Desk {
  state: KeySetState
  keys: ReadonlyMap<string, readonly PublicKey[]>
  readonly waiting: Set<() => void>
}

/** Returns the key sets of an isolate that has fetched none. */
export function createKeySets({ nowMs }: Pick<Gateway, "nowMs">): KeySets {
  const desks = new Map<string, Desk>()

  function deskOf({ name }: AuthorizationServer): Desk {
    const known = desks.get(name)
    if (known !== undefined) return known
    const desk: Desk = { state: EMPTY_KEY_SET, keys: new Map(), waiting: new Set() }
    desks.set(name, desk)
    return desk
  }

  function found(desk: Desk, server: AuthorizationServer, kid: string): KeysFound {
    const kind = standingOfKey(desk.state, kid, server.staleMsMax, nowMs())
    return kind === "known" ? { kind, keys: desk.keys.get(kid) ?? [] } : { kind }
  }

  async function call(server: AuthorizationServer, desk: Desk, seq: number): Promise<void> {
    const fetched = await fetchKeys(server.jwksUrl)
    if ("failure" in fetched) {
      desk.state = noteFailure(desk.state, seq, nowMs())
      const { failure: reason } = fetched
      console.error(JSON.stringify({ level: "error", event: "token_keys_failed", token: server.name, reason }))
    } else if (desk.state.call?.seq === seq) {
      desk.keys = group(fetched.keys, desk.keys)
      desk.state = acceptKeys(desk.state, seq, desk.keys.keys())
    }
    for (const resolve of desk.waiting) resolve()
    desk.waiting.clear()
  }

  async function wait(server: AuthorizationServer, desk: Desk, kid: string): Promise<KeysFound> {
    let wake = (): void => {}
    const ended = new Promise<void>((resolve) => {
      wake = resolve
    })
    desk.waiting.add(wake)
    const waited = await withDeadline(ended, TOKEN_KEYS_TIMEOUT_MS)
    desk.waiting.delete(wake)
    return waited === LATE ? { kind: "unavailable" } : found(desk, server, kid)
  }

  /** Waiting for keys, whoever fetches them, is a span of the request that waits. */
  async function traced(c: GatewayContext, waiting: Promise<KeysFound>): Promise<KeysFound> {
    const { spans } = c.get("exchange")
    if (spans === undefined) return waiting
    const startMs = nowMs()
    const result = await waiting
    const isError = result.kind === "unavailable"
    const attributes = isError ? { "error.type": "unavailable" } : {}
    spans.add({ name: "token-keys", kind: "internal", startMs, endMs: nowMs(), attributes, isError })
    return result
  }

  return {
    find(c, server, kid) {
      const desk = deskOf(server)
      const { state, decision } = askKey(desk.state, kid, server.staleMsMax, nowMs())
      desk.state = state
      const result = decision.kind === "wait" ? traced(c, wait(server, desk, kid)) : found(desk, server, kid)
      if (decision.fetches) c.executionCtx.waitUntil(call(server, desk, state.lastSeq))
      return result
    },
  }
}

/** Keys by their ids. One that was there before stays the same object, so that what depends on it stays valid. */
function group(
  keys: readonly PublicKey[],
  before: ReadonlyMap<string, readonly PublicKey[]>,
): ReadonlyMap<string, readonly PublicKey[]> {
  const grouped = new Map<string, PublicKey[]>()
  for (const key of keys) {
    const same = grouped.get(key.kid) ?? []
    if (same.length >= TOKEN_KEYS_PER_ID_MAX || same.some(({ identity }) => identity === key.identity)) continue
    same.push(before.get(key.kid)?.find(({ identity }) => identity === key.identity) ?? key)
    grouped.set(key.kid, same)
  }
  return grouped
}

type Fetched = { readonly keys: readonly PublicKey[] } | { readonly failure: string }

const JSON_MEDIA_TYPE = /^application\/(?:[\w.+-]+\+)?json(?:\s*;|$)/i

async function fetchKeys(url: string): Promise<Fetched> {
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), TOKEN_KEYS_TIMEOUT_MS)
  try {
    const response = await fetch(url, {
      headers: { Accept: "application/jwk-set+json, application/json" },
      redirect: "manual",
      // A cache in between would decide how long a withdrawn key serves.
      cf: { cacheTtl: -1, cacheLevel: "bypass" },
      signal: deadline.signal,
    })
    const isJson = JSON_MEDIA_TYPE.test(response.headers.get("content-type") ?? "")
    if (response.status !== 200 || !isJson) {
      await response.body?.cancel()
      return { failure: response.status === 200 ? "no_json" : `status_${response.status}` }
    }
    const text = await readBounded(response)
    if (text === undefined) return { failure: "too_large" }
    const keys = parseKeySet(JSON.parse(text))
    return keys === undefined ? { failure: "no_key_set" } : { keys }
  } catch (error) {
    if (deadline.signal.aborted) return { failure: "timeout" }
    return { failure: error instanceof SyntaxError ? "no_json" : "unreachable" }
  } finally {
    clearTimeout(timer)
  }
}

/** Returns the text of an answer, or undefined when it is longer than the bound; the rest is not read then. */
async function readBounded({ body }: Response): Promise<string | undefined> {
  if (body === null) return ""
  const reader = (body as ReadableStream<Uint8Array>).getReader()
  const decoder = new TextDecoder()
  let text = ""
  for (let bytes = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.length
    if (bytes > TOKEN_KEYS_BYTES_MAX) {
      await reader.cancel()
      return undefined
    }
    text += decoder.decode(value, { stream: true })
  }
}
