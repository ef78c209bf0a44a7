// A PDS (resource and authorization server) with accounts, and a PLC directory, as @atproto/dev-env starts them.
//
// Argument: JSON {accounts: [{handle, password}], documents: {URL: client metadata}}. Prints one line of JSON when it
// is ready: {pds, plc, dids: {handle: DID}}. Ends when stdin does.
import { registerHooks } from 'node:module'

registerHooks({
  resolve: (name, context, next) =>
    name === 'better-sqlite3'
      ? { url: new URL('sqlite.mjs', import.meta.url).href, shortCircuit: true }
      : next(name, context),
})

const { accounts, documents } = JSON.parse(process.argv[2])

// client metadata documents on the public web, which is not there
const fetch = globalThis.fetch
globalThis.fetch = function (input, init) {
  const document = documents[String(input instanceof Request ? input.url : input)]
  return document ? Promise.resolve(Response.json(document)) : fetch.call(this, input, init)
}

// by its file: the package's index also imports the services that are not started here
const network = new URL('node_modules/@atproto/dev-env/dist/network-no-appview.js', import.meta.url)
const { TestNetworkNoAppView } = await import(network.href)
const { pds, plc } = await TestNetworkNoAppView.create({})
const dids = {}
for (const { handle, password } of accounts) {
  const made = await pds.getAgent().createAccount({ handle, password, email: `${handle.split('.')[0]}@mail.test` })
  dids[handle] = made.data.did
}
process.stdout.write(`${JSON.stringify({ pds: pds.url, plc: plc.url, dids })}\n`)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
