/**
 * CAs that publish revocation lists: a test says what is to be published under a name (POST), the gateway fetches it (GET).
 *
 * Lists are signed with real keys of every kind, written octet by octet, and given out as a plan says: whole, cut, endless,
 * late, or not at all.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { crlOf, entry, extension, pemOf, time } from "../../core/crl-fixtures.ts"
import { signedCrl, type CrlSigner } from "../../core/crl-signers.ts"
import { der } from "../../core/certificate-fixtures.ts"
import type { CrlPlan } from "../provided.ts"

/** A server of lists that runs. */
export interface CrlServer {
  readonly port: number
  close(): void
}

interface Publication {
  readonly plan: CrlPlan
  readonly body: Buffer
  fetches: number
}

const MEGABYTE = Buffer.alloc(1_048_576, 0x30)

/** Starts the server. GET `/<name>` is the list, GET `/<name>?fetches` how often it was asked for. */
export async function startCrlServer(
  signers: Readonly<Record<string, CrlSigner>>,
  trapPort: number,
): Promise<CrlServer> {
  const publications = new Map<string, Publication>()
  const server = createServer((request, response) => {
    response.on("error", () => {})
    const [, name = "", query] = /^\/([^?]*)(\?.*)?$/.exec(request.url ?? "") ?? []
    if (request.method === "POST") {
      void publish(name, request, response)
      return
    }
    const publication = publications.get(name)
    if (query === "?fetches") response.end(String(publication?.fetches ?? 0))
    else if (publication === undefined) response.writeHead(404).end()
    else {
      publication.fetches += 1
      answer(publication, response, trapPort)
    }
  })
  async function publish(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const plan = await readPlan(request)
    const { fetches = 0 } = publications.get(name) ?? {}
    publications.set(name, { plan, body: await createBody(signers, plan), fetches })
    response.end()
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function answer({ body, plan }: Publication, response: ServerResponse, trapPort: number): void {
  switch (plan.behaviour) {
    case "redirect":
      response.writeHead(302, { Location: `http://127.0.0.1:${trapPort}/` }).end()
      break
    case "error":
      response.writeHead(503).end("busy")
      break
    case "hang":
      break
    case "hang in the middle":
      response.writeHead(200, { "Content-Length": body.length })
      response.write(body.subarray(0, 100))
      break
    case "cut":
      response.writeHead(200, { "Content-Length": body.length })
      response.write(body.subarray(0, 100), () => response.destroy())
      break
    case "huge":
      response.writeHead(200, { "Content-Length": 50 * MEGABYTE.length }).end()
      break
    case "endless": {
      const write = (): void => {
        if (response.destroyed) return
        if (response.write(MEGABYTE)) setImmediate(write)
        else response.once("drain", write)
      }
      response.writeHead(200)
      write()
      break
    }
    case undefined:
      response.writeHead(200, { "Content-Type": "application/pkix-crl" }).end(body)
  }
}

async function createBody(signers: Readonly<Record<string, CrlSigner>>, plan: CrlPlan): Promise<Buffer> {
  if (plan.text !== undefined) return Buffer.from(plan.text)
  const signer = signers[plan.signer]
  if (signer === undefined) throw new Error(`There is no CA ${plan.signer}`)
  const { number = 1, thisUpdateMs, nextUpdateMs, serials, filler = 0 } = plan
  const digits = number.toString(16).padStart(8, "0")
  const fillers = Array.from({ length: filler }, (_, index) => entry(`40${index.toString(16).padStart(30, "0")}`))
  const parts = {
    thisUpdate: time(thisUpdateMs),
    nextUpdate: time(nextUpdateMs),
    entries: [...serials.map((serial) => entry(/^[89a-f]/.test(serial) ? `00${serial}` : serial)), ...fillers],
    extensions: [extension("2.5.29.20", der(0x02, Buffer.from(digits.replace(/^(?:00)+(?=..)/, ""), "hex")))],
  }
  const named = signers[plan.named ?? plan.signer]?.issuer
  const issuer = named === undefined ? {} : { issuer: named }
  const list =
    plan.isUnsigned === true ? crlOf({ ...parts, ...issuer }) : await signedCrl(signer, { ...parts, ...issuer })
  return Buffer.from(plan.isPem === true ? pemOf(list) : list)
}

async function readPlan(request: IncomingMessage): Promise<CrlPlan> {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return JSON.parse(text) as CrlPlan
}
