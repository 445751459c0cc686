/**
 * `sekisho keys`: makes a key of assertions or of idempotency records, or shows the public part of the former. The key goes to standard output and nothing
 * else does, so that it can be piped into a secret; hints go to standard error.
 */
import { text } from "node:stream/consumers"
import { parseAssertionKey, type AssertionAlgorithm } from "../src/core/assertion/assertion-key.ts"
import { mintAssertionKey } from "./assertion-keys.ts"
import { mintRecordKey } from "./record-keys.ts"
import { UsageError } from "./usage-error.ts"

const RECORD_ALG = "A256GCM"

/** Runs the command and returns its exit code. `isPublic` reads a private JWK from standard input. */
export async function runKeys(flags: {
  readonly alg: string
  readonly kid: string | undefined
  readonly isPublic: boolean
}): Promise<number> {
  if (flags.isPublic) {
    console.log(JSON.stringify(parseKey(await text(process.stdin)).publicJwk))
    return 0
  }
  if (flags.kid !== undefined && !/^[A-Za-z0-9._-]{1,64}$/.test(flags.kid))
    throw new UsageError(`--kid takes 1 to 64 letters, digits, dots, underscores or hyphens, not "${flags.kid}".`)
  if (flags.alg === RECORD_ALG) {
    console.log(mintRecordKey(flags.kid))
    console.error(
      [
        "",
        "  A symmetric key that protects idempotency records. Whoever has it and the records can read the answers in them.",
        "  Best is never to see it:",
        "",
        `    npx sekisho keys --alg ${RECORD_ALG} | npx wrangler secret put IDEMPOTENCY_KEY --env production`,
        "",
      ].join("\n"),
    )
    return 0
  }
  const alg = parseAlgorithm(flags.alg)
  const key = await mintAssertionKey(alg, flags.kid)
  console.log(key)
  console.error(
    [
      "",
      `  A private key for ${alg}, named ${parseKey(key).kid}. Whoever has it can speak for the gateway: keep it nowhere but`,
      "  in the secret. Best is never to see it:",
      "",
      "    npx sekisho keys | npx wrangler secret put ASSERTION_KEY --env production",
      "",
    ].join("\n"),
  )
  return 0
}

function parseAlgorithm(alg: string): AssertionAlgorithm {
  if (alg === "ES256" || alg === "EdDSA") return alg
  throw new UsageError(`--alg takes ES256 or EdDSA, or ${RECORD_ALG} for idempotency records, not "${alg}".`)
}

function parseKey(secret: string) {
  const parsed = parseAssertionKey(secret)
  if (parsed.ok) return parsed.key
  throw new UsageError(
    `Standard input holds no private JWK for assertions (${parsed.reason}); "sekisho keys" makes one with kid, alg and the private member.`,
  )
}
