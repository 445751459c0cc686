/**
 * The sample authorization server: issues access tokens that are bound to the client's certificate, and publishes its key. It
 * stands behind the gateway as an origin and takes client and certificate from the fields that the gateway sets, so it
 * listens on the loopback interface, where nobody else can reach it. Its key lives as long as the process.
 *
 *   node examples/issuer/server.ts --port 9100
 */
import { fileURLToPath } from "node:url"
import { generateKeyPairSync, randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { parseArgs } from "node:util"
import { listen, type Listening } from "../listen.ts"
import { readBody } from "../read-body.ts"
import { issueToken, parseClientCert, parseTokenRequest, type TokenIssuer } from "./token.ts"

/** Where to listen (port 0 takes any free one), and what tokens name as their issuer and audience. */
export interface IssuerOptions {
  readonly host: string
  readonly port: number
  readonly issuer: string
  readonly audience: string
}

/** An issuer that runs. */
export type Issuer = Listening

/** Largest body of a token request in octets. */
const BODY_BYTES_MAX = 4_096

/** Starts the issuer with a new key; settles once it accepts connections, fails when the port is taken. */
export async function startIssuer({ host, port, issuer, audience }: IssuerOptions): Promise<Issuer> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const kid = randomUUID()
  const keySet = { keys: [{ ...publicKey.export({ format: "jwk" }), kid, use: "sig", alg: "ES256" }] }
  const server = createServer((request, response) => {
    answer(request, response, { issuer, audience, kid, privateKey }, keySet).catch(() => response.destroy())
  })
  return listen(server, host, port)
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  issuer: TokenIssuer,
  keySet: object,
): Promise<void> {
  const { headers, method, url } = request
  if (method === "GET" && url === "/jwks") return sendJson(response, 200, keySet)
  if (method !== "POST" || url !== "/token") return sendJson(response, 404, { error: "not_found" })
  const client = headers["x-client-id"]
  const certificate = parseClientCert(String(headers["client-cert"] ?? ""))
  if (typeof client !== "string" || certificate === undefined)
    return sendJson(response, 401, { error: "invalid_client" })
  const body = await readBody(request, BODY_BYTES_MAX)
  const asked = body === undefined ? undefined : parseTokenRequest(body.toString())
  if (asked === undefined) return sendJson(response, 413, { error: "invalid_request" })
  if ("error" in asked) return sendJson(response, 400, asked)
  const { scopes } = asked
  const { expiresIn, token } = issueToken(issuer, {
    client,
    certificate,
    scopes,
    tokenId: randomUUID(),
    nowMs: Date.now(),
  })
  sendJson(response, 200, { access_token: token, token_type: "Bearer", expires_in: expiresIn, scope: scopes.join(" ") })
}

/** Tokens are nothing for a cache. @see RFC 6749 §5.1 */
function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" })
  response.end(`${JSON.stringify(body)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      host: { type: "string", default: "127.0.0.1" },
      port: { type: "string", default: "9100" },
      issuer: { type: "string", default: "https://login.sample.example" },
      audience: { type: "string", default: "https://localhost:8443" },
    },
  })
  const issuer = await startIssuer({ ...values, port: Number(values.port) })
  console.log(`The sample issuer is open at http://${values.host}:${issuer.port}`)
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void issuer.close())
}
