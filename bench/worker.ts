/**
 * The measured Workers: each in a workerd of its own, told what Cloudflare would say about a development client.
 */
import { X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { DEVELOPMENT_SKI } from "../cli/pki/development-ski.ts"
import { ensurePki } from "../cli/pki/ensure.ts"
import { startWorkerProcess, type WorkerProcess } from "../cli/worker-process.ts"
import { NO_CLIENT_CERTIFICATE } from "../src/core/certificate/platform-certificate.ts"
import { workerdChildren } from "./process.ts"

/** A Worker, and the process to read the CPU time of. */
export interface MeasuredWorker {
  readonly worker: WorkerProcess
  readonly pid: number
}

/** Root of the repository. */
export const ROOT = fileURLToPath(new URL("..", import.meta.url))

/**
 * Starts the Worker of a configuration file with variables in place of those of the file.
 *
 * @param config path from the root of the repository
 * @param stateDirectory one of its own, empty
 */
export async function startMeasuredWorker(
  config: string,
  overrides: Readonly<Record<string, unknown>>,
  stateDirectory: string,
): Promise<MeasuredWorker> {
  const before = new Set(workerdChildren())
  const worker = await startWorkerProcess({
    configFile: join(ROOT, config),
    environment: undefined,
    overrides,
    stateDirectory,
    onConsole: () => {},
    onRestart: () => {},
  })
  const pid = workerdChildren().find((child) => !before.has(child))
  if (pid === undefined) throw new Error("The measured workerd process was not found; the bench needs Linux's /proc")
  return { worker, pid }
}

/** Returns the fields of a request of the development client "acme", as the platform would deliver it. */
export async function requestFields(pkiDirectory: string): Promise<Readonly<Record<string, string>>> {
  const pki = await ensurePki(pkiDirectory, {
    clients: [{ id: "acme", sanUri: "spiffe://partners.example/acme", subject: "CN=acme,O=Acme,C=JP" }],
    hosts: ["localhost"],
    nowMs: Date.now(),
  })
  return fieldsOf(new X509Certificate(await readFile(pki.clients[0]?.certificatePath ?? "")))
}

/** Returns the fields of a request with this client certificate, as the platform would deliver it. */
export function fieldsOf(certificate: X509Certificate): Readonly<Record<string, string>> {
  const tlsClientAuth = {
    ...NO_CLIENT_CERTIFICATE,
    certPresented: "1",
    certVerified: "SUCCESS",
    certFingerprintSHA256: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    certIssuerSKI: DEVELOPMENT_SKI,
    certRFC9440: `:${certificate.raw.toString("base64")}:`,
  }
  return {
    Host: "localhost",
    "MF-CF-Blob": JSON.stringify({ tlsClientAuth }),
    "CF-Connecting-IP": "127.0.0.1",
    Accept: "application/json",
  }
}
