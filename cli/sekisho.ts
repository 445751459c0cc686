/**
 * The `sekisho` command: finds the verb, parses its flags, prints errors for people. What a verb needs is loaded once its
 * flags hold: wrangler alone takes a second.
 */
import { parseArgs } from "node:util"
import { PkiError } from "./pki/error.ts"
import { createPaint } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"

const HELP = `
  sekisho <command> [flags]

  dev      run the gateway on this machine: TLS edge, workerd, state, and with --samples a sample origin and sink
             --port <n>         port of the TLS edge (8443)
             --config <file>    wrangler configuration (wrangler.toml)
             --env <name>       environment of the configuration (the top level)
             --state <dir>      certificates and state (.sekisho)
             --samples          start the sample bank for the origin "bank" and a sample sink
             --json             print events as NDJSON, one line a request
             --traces           print the spans of requests, too (with --samples)

  check    validate the configuration without running it
             --config <file>    wrangler configuration (wrangler.toml)
             --env <name>       only this environment (all of them)

  explain <method> <url>
           show which route, limits, guards and origin a request would get, and why; ends with 1 when it would be refused
             --client <id>      client whose certificate the caller shows (none)
             --config <file>    wrangler configuration (wrangler.toml)
             --env <name>       environment of the configuration (the top level)
             --json             print it as JSON

  pki      make or renew the development PKI
             --config <file>    wrangler configuration whose clients get certificates (wrangler.toml)
             --env <name>       environment of the configuration (the top level)
             --state <dir>      where to put it: <dir>/pki (.sekisho)
             --renew            issue every certificate anew under the same CA
             --replace-ca       make a new CA; the old one is kept as ca.pem.bak-<time>

  pki rotate <client>
           give a client of the development PKI a second certificate, and print the rules that retire the first
             --config, --env, --state  as above
             --overlap <time>   how long both are to pass (7d)

  pki revoke <client>
           put the client's development certificate on the revocation list; a gateway that runs takes it over
             --config, --env, --state as above

  crl <file>
           show what a certificate revocation list says, and whether the gateway would use it
             --ca <file>        certificate of the CA, to verify the signature with
             --serial <hex>     ask about one serial number

  audit verify <file>...
           prove delivered audit trails complete and unedited, or name the first gap or edit
             --part             the files begin in the middle, such as those of a month: no fault
             --json             print it as JSON

  keys     make a key that signs assertions or protects idempotency records, for "wrangler secret put"
             --alg <name>       ES256 or EdDSA (ES256), or A256GCM for idempotency records
             --kid <name>       its name (its thumbprint; of a key for records a random one)
             --public           show the public part of the key on standard input instead
`

const FILE_FLAGS = { config: { type: "string", default: "wrangler.toml" }, env: { type: "string" } } as const
const STATE_FLAG = { state: { type: "string", default: ".sekisho" } } as const

async function run(argv: readonly string[]): Promise<number> {
  const [command, ...args] = argv
  switch (command) {
    case "dev": {
      const { values } = parseArgs({
        args,
        options: {
          ...FILE_FLAGS,
          ...STATE_FLAG,
          port: { type: "string", default: "8443" },
          samples: { type: "boolean", default: false },
          json: { type: "boolean", default: false },
          traces: { type: "boolean", default: false },
        },
      })
      const port = parsePort(values.port)
      const { runDev } = await import("./dev.ts")
      return runDev({ ...values, port, environment: values.env })
    }
    case "check": {
      const { values } = parseArgs({ args, options: FILE_FLAGS })
      const { runCheck } = await import("./check.ts")
      return runCheck({ config: values.config, environment: values.env })
    }
    case "explain": {
      const options = { ...FILE_FLAGS, client: { type: "string" }, json: { type: "boolean", default: false } } as const
      const { values, positionals } = parseArgs({ args, allowPositionals: true, options })
      const [method, url, ...rest] = positionals
      if (method === undefined || url === undefined || rest.length > 0)
        throw new UsageError(
          '"sekisho explain" takes a method and a URL or path, such as "sekisho explain GET /accounts".',
        )
      const { runExplain } = await import("./explain.ts")
      const { client, config, env: environment, json: isJson } = values
      return runExplain({ client, config, environment, isJson, method, url }, Date.now())
    }
    case "pki": {
      if (args[0] === "rotate") return rotate(args.slice(1))
      const { values, positionals } = parseArgs({
        args,
        allowPositionals: true,
        options: {
          ...FILE_FLAGS,
          ...STATE_FLAG,
          renew: { type: "boolean", default: false },
          "replace-ca": { type: "boolean", default: false },
        },
      })
      const [verb, client, ...rest] = positionals
      if (verb !== undefined && (verb !== "revoke" || client === undefined || rest.length > 0))
        throw new UsageError(`"sekisho pki" takes no words, or "revoke" or "rotate" and the id of one client.`)
      const { runPki, runRevoke } = await import("./pki.ts")
      if (client !== undefined) return runRevoke({ ...values, environment: values.env, client })
      return runPki({
        config: values.config,
        environment: values.env,
        state: values.state,
        renew: values.renew,
        replaceCa: values["replace-ca"],
      })
    }
    case "keys": {
      const { values } = parseArgs({
        args,
        options: {
          alg: { type: "string", default: "ES256" },
          kid: { type: "string" },
          public: { type: "boolean", default: false },
        },
      })
      const { runKeys } = await import("./keys.ts")
      return runKeys({ alg: values.alg, kid: values.kid, isPublic: values.public })
    }
    case "crl": {
      const options = { ca: { type: "string" }, serial: { type: "string" } } as const
      const { values, positionals } = parseArgs({ args, allowPositionals: true, options })
      const [file, ...rest] = positionals
      if (file === undefined || rest.length > 0)
        throw new UsageError('"sekisho crl" takes one file: a revocation list, PEM or DER.')
      const { runCrl } = await import("./crl.ts")
      return runCrl({ file, ca: values.ca, serial: values.serial }, Date.now())
    }
    case "audit": {
      const options = {
        json: { type: "boolean", default: false },
        part: { type: "boolean", default: false },
      } as const
      const { values, positionals } = parseArgs({ args, allowPositionals: true, options })
      const [verb, ...files] = positionals
      if (verb !== "verify" || files.length === 0)
        throw new UsageError('"sekisho audit" takes "verify" and the files of delivered trails.')
      const { runAuditVerify } = await import("./audit.ts")
      return runAuditVerify({ files, isJson: values.json, isPart: values.part })
    }
    case undefined:
    case "help":
    case "--help":
    case "-h":
      console.log(HELP)
      return 0
    default:
      throw new UsageError(
        `There is no command "${command}". Commands: dev, check, explain, pki, crl, audit, keys. "sekisho help" describes them.`,
      )
  }
}

async function rotate(args: readonly string[]): Promise<number> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...FILE_FLAGS, ...STATE_FLAG, overlap: { type: "string", default: "7d" } },
  })
  const [id, ...others] = positionals
  if (id === undefined || others.length > 0)
    throw new UsageError('"sekisho pki rotate" takes one client, such as "sekisho pki rotate acme".')
  const { runRotate } = await import("./pki.ts")
  return runRotate(id, { ...values, environment: values.env })
}

function parsePort(text: string): number {
  const port = Number(text)
  if (!/^[0-9]{1,5}$/.test(text) || port > 65_535)
    throw new UsageError(`--port takes a number from 0 to 65535, not "${text}".`)
  return port
}

try {
  process.exitCode = await run(process.argv.slice(2))
} catch (error) {
  const isForPeople =
    error instanceof UsageError ||
    error instanceof PkiError ||
    (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"))
  const paint = createPaint(process.stderr)
  console.error(
    isForPeople && error instanceof Error
      ? `\n  ${paint("red", "✗")} ${error.message.replaceAll("\n", "\n    ")}\n`
      : error,
  )
  process.exitCode = 1
}
