// A real authorization server for the end-to-end tests: npm's oidc-provider with its development consent pages.
// The rule: what a provider does is left to oidc-provider; here are only clients, lifetimes and a log.
//
// Started by oidc_server.py with its settings as JSON in argv[2]:
//   {"clients": [RFC 7591 metadata, ...], "access_token_seconds": 60,
//    "everything": null, or {"tls": {"cert", "key", "ca" in PEM}, "initial_access_token": text, "https": true for an
//    issuer behind TLS}: see features.mjs}
// Prints {"issuer": URL, "control": "http://127.0.0.1:PORT"} when it answers; ends when its stdin does, so that it never
// outlives the tests. At control, GET /__log gives what was asked of the token, userinfo, revocation and PAR endpoints;
// POST /__later with N as its body moves the server's clock N seconds on; POST /__rotate makes it sign with a new key,
// while those that an earlier /__rotate made stay published.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';
import { createMemoryAdapter } from 'oidc-provider/lib/adapters/memory_adapter.js';

import { behindTls, exchangeTokens, slowDown, withEverything } from './features.mjs';

const settings = JSON.parse(process.argv[2]);
const log = [];
const memory = createMemoryAdapter(); // outlives a change of keys
const signingKeys = []; // newest first; without any, oidc-provider has a key for development
let issuer;
let aliases;
let answer = (_request, response) => response.writeHead(503).end();

const wallClock = Date.now;
let later = 0;
Date.now = () => wallClock() + later * 1000; // the only clock that oidc-provider reads

const server = createServer(async (request, response) => {
  if (request.url === '/__log') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(log));
  } else if (request.url === '/__later') {
    for await (const seconds of request) later += Number(seconds);
    response.writeHead(204).end();
  } else if (request.url === '/__rotate') {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    signingKeys.unshift({ ...privateKey.export({ format: 'jwk' }), use: 'sig', kid: `key-${signingKeys.length + 1}` });
    answer = provide();
    response.writeHead(204).end();
  } else {
    answer(request, response);
  }
});

async function start() {
  // Port 0 first, issuer after: no other process can take the port in between.
  const control = `http://127.0.0.1:${server.address().port}`;
  const { everything } = settings;
  aliases = everything && await behindTls(everything.tls, (request, response) => answer(request, response));
  issuer = everything?.https ? new URL(aliases.token_endpoint).origin : control;
  answer = provide();
  process.stdout.write(`${JSON.stringify({ issuer, control })}\n`);
}

function provide() {
  const configuration = {
    adapter: memory,
    clients: settings.clients,
    scopes: ['openid', 'offline_access'],
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `${id} of the tests`, email: `${id}@example.org`, email_verified: true }),
    }),
    features: {
      backchannelLogout: { enabled: true }, devInteractions: { enabled: true }, revocation: { enabled: true },
    },
    // Its own rule reaches no address of loopback, where the applications of these tests are.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
    ...(signingKeys.length ? { jwks: { keys: signingKeys } } : {}),
    pkce: { required: () => true },
    // Its own rule keeps the refresh token of a confidential client; a rotated one is what may get lost.
    rotateRefreshToken: () => true,
    clockTolerance: 0, // by default what has expired lives 15 s longer
    ttl: {
      AccessToken: settings.access_token_seconds, RefreshToken: 3600, Grant: 3600, Session: 3600,
      AuthorizationCode: 60, IdToken: 3600, Interaction: 600,
    },
    cookies: { keys: ['not a secret: the sessions of these tests live for seconds'] },
  };
  const { everything } = settings;
  const provider = new Provider(issuer, everything ? withEverything(configuration, everything, aliases) : configuration);
  const matches = provider.Client.prototype.compareClientSecret;
  provider.Client.prototype.compareClientSecret = function compareClientSecret(secret) {
    // Its own rule takes the secret in either place; many providers take it only as registered (RFC 7591 §2).
    return clientAuth(Provider.ctx, Provider.ctx.oidc.body) === this.clientAuthMethod && matches.call(this, secret);
  };
  provider.use(note);
  if (everything) {
    exchangeTokens(provider);
    provider.use(slowDown());
  }
  provider.on('server_error', (_ctx, error) => process.stderr.write(`${error.stack}\n`));
  provider.on('backchannel.error', (_ctx, error) => process.stderr.write(`${error.stack}\n`));
  return provider.callback();
}

async function note(ctx, next) {
  await next();
  const { route, client, body } = ctx.oidc ?? {};
  if (!['token', 'userinfo', 'revocation', 'pushed_authorization_request'].includes(route)) return;
  const form = body ?? {};
  log.push({
    endpoint: route,
    grant_type: form.grant_type ?? null,
    client: client?.clientId ?? null,
    client_auth: clientAuth(ctx, form),
    parameters: Object.keys(form).sort(), // names only: a log holds no secret
    status: ctx.status,
    error: ctx.body?.error ?? null,
    error_description: ctx.body?.error_description ?? null,
  });
}

function clientAuth(ctx, form) {
  if (/^basic /i.test(ctx.get('authorization'))) return 'client_secret_basic';
  if (form.client_assertion !== undefined) return 'client_assertion';
  return form.client_secret === undefined ? 'none' : 'client_secret_post';
}

server.listen(0, '127.0.0.1', start);
process.stdin.resume().on('end', () => process.exit(0));
