/**
 * What it costs to find out who it is: CPU time per request of one Worker with a certificate that it knows and with one that it
 * has never seen, with a token that it remembers and with one that it has to verify.
 *
 * All kinds are measured on the same process; each is given as its difference to the first within the round. A new certificate
 * or token is new in every request: there are more of them than the Worker remembers.
 */
import { generateKeyPairSync, X509Certificate } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { SignJWT } from "jose"
import { DEVELOPMENT_SKI } from "../cli/pki/development-ski.ts"
import { createAuthority, issueLeaf } from "../cli/pki/certificate.ts"
import { parseSubject } from "../cli/pki/name.ts"
import { CERTIFICATE_CACHE_ENTRIES_MAX } from "../src/core/bounds.ts"
import { runSlice, type Slice } from "./load.ts"
import { countErrors, median, printRows, runRounds, type RoundsOptions } from "./rounds.ts"
import { fieldsOf, startMeasuredWorker } from "./worker.ts"

type Fields = Readonly<Record<string, string>>

/** More than an isolate remembers, asked for in turn: none is ever remembered when it comes again. */
const LEAVES = CERTIFICATE_CACHE_ENTRIES_MAX + 500
const ISSUER = "https://login.bench.example"
const AUDIENCE = "https://api.bench.example"

/** Measures and prints all kinds. */
export async function benchIdentity(options: RoundsOptions): Promise<void> {
  const { directory, requests } = options
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "bench", alg: "ES256" }] })
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { "Content-Type": "application/json" }).end(keys)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const limits = "standard"
  const measured = await startMeasuredWorker(
    "wrangler.toml",
    {
      PLATFORM: "cloudflare",
      IP_LIMIT: undefined,
      GATEWAY: { hosts: ["localhost"], console: false },
      ORIGINS: { bank: { url } },
      LIMITS: { standard: { rate: "1000000/s", burst: 1_000_000 } },
      TOKENS: { bench: { issuer: ISSUER, jwks_url: `${url}/jwks`, audience: AUDIENCE, algorithms: ["ES256"] } },
      ROUTES: [
        { path: "/plain", origin: "bank", limits },
        { path: "/token", origin: "bank", limits, token: "bench", scopes: ["read"] },
      ],
      SINKS: [],
    },
    join(directory, "identity"),
  )
  try {
    const certificates = await issueCertificates(LEAVES)
    const leaves = certificates.map(fieldsOf)
    const [known = {}] = leaves
    const fingerprint = Buffer.from((certificates[0]?.fingerprint256 ?? "").replaceAll(":", ""), "hex").toString(
      "base64url",
    )
    const mint = (id: number): Promise<string> => mintToken(privateKey, fingerprint, id)
    let tokens = 0
    let asked = 0
    const mintAll = async (count: number): Promise<readonly Fields[]> => {
      const minted: Fields[] = []
      for (let i = 0; i < count; i++) minted.push({ ...known, Authorization: `Bearer ${await mint(++tokens)}` })
      return minted
    }
    const [remembered = {}] = await mintAll(1)
    const kinds = [
      { name: "known certificate", path: "/plain", prepare: async () => known },
      {
        name: "new certificate",
        path: "/plain",
        // From round to round, too: what a round began with would be remembered when the next one begins.
        prepare: async () => () => leaves[asked++ % LEAVES] ?? known,
      },
      { name: "known certificate, remembered token", path: "/token", prepare: async () => remembered },
      {
        name: "known certificate, new token",
        path: "/token",
        prepare: async () => {
          const minted = await mintAll(requests)
          return (index: number) => minted[index] ?? known
        },
      },
    ]
    const slices = await runRounds(
      options,
      kinds.map(({ path, prepare }) => {
        const target = new URL(`http://127.0.0.1:${measured.worker.port}${path}`)
        return async () => runSlice(target, await prepare(), requests, measured.pid)
      }),
    )
    report(
      kinds.map(({ name }) => name),
      slices,
      options,
    )
  } finally {
    server.close()
    await measured.worker.close()
  }
}

async function issueCertificates(count: number): Promise<readonly X509Certificate[]> {
  const nowMs = Date.now()
  const authority = await createAuthority(parseSubject("CN=Bench CA"), nowMs, DEVELOPMENT_SKI)
  const names = [{ type: "url", value: "spiffe://partners.example/acme" }] as const
  const plan = { subject: parseSubject("CN=acme,O=Acme,C=JP"), names, usage: "client", period: "current" } as const
  const certificates: X509Certificate[] = []
  for (let i = 0; i < count; i++) {
    certificates.push(new X509Certificate((await issueLeaf(authority, plan, nowMs)).certificatePem))
  }
  return certificates
}

function mintToken(
  privateKey: ReturnType<typeof generateKeyPairSync>["privateKey"],
  thumbprint: string,
  id: number,
): Promise<string> {
  const claims = { client_id: "acme", scope: "read write", cnf: { "x5t#S256": thumbprint } }
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "ES256", kid: "bench", typ: "at+jwt" })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setSubject("acme")
    .setJti(String(id))
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(privateKey)
}

function report(
  names: readonly string[],
  slices: readonly (readonly Slice[])[],
  options: Omit<RoundsOptions, "directory">,
): void {
  const [first = []] = slices
  const rows = names.map((kind, index) => {
    const own = slices[index] ?? []
    const added = own.map(({ cpuUs }, round) => cpuUs - (first[round]?.cpuUs ?? Number.NaN))
    return {
      kind,
      cpuUs: median(own.map(({ cpuUs }) => cpuUs)),
      addedUs: median(added),
      addedUsMin: Math.min(...added),
      addedUsMax: Math.max(...added),
      errors: countErrors(own),
    }
  })
  printRows(options, rows, {
    heading: ["kind", "CPU us/request", "added us [min to max]", "errors"],
    cellsOf: (row) => [
      row.kind,
      row.cpuUs.toFixed(0),
      `${row.addedUs.toFixed(0)} [${row.addedUsMin.toFixed(0)} to ${row.addedUsMax.toFixed(0)}]`,
      String(row.errors),
    ],
    note: "medians, differences within a round",
  })
}
