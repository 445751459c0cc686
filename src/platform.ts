/**
 * Whose word `request.cf` is, decided once per isolate from the environment.
 */
import type { PlatformTrust } from "./context.ts"
import { parseHex } from "./core/hex.ts"

/**
 * Returns the trust that the environment declares. A key shared with the local edge wins over a declared platform, because
 * a Worker that has one does stand behind that edge. A key that is no 32 octets of hex is nobody's: fail closed.
 */
export function resolveTrust(environment: Pick<Env, "PLATFORM" | "EDGE_KEY">): PlatformTrust {
  if (environment.EDGE_KEY !== undefined) {
    const key = parseHex(environment.EDGE_KEY)
    return key?.length === 32 ? { kind: "edge", key: Uint8Array.from(key) } : { kind: "nobody" }
  }
  return environment.PLATFORM === "cloudflare" ? { kind: "cloudflare" } : { kind: "nobody" }
}
