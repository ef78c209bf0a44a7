// Everything that oidc-provider can do and its defaults leave off, for test_oidc_features.py.
//
// The rule: what a feature does is left to oidc-provider; here are only its switches, one API to have tokens for, and
// what the provider leaves to its user: certificates, token exchange, and slow_down.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:https';

import { errors } from 'oidc-provider';

const API = 'https://api.example';
const API_SERVER = { scope: 'notes tides', audience: API, accessTokenFormat: 'opaque', accessTokenTTL: 60 };
const JWT_API = 'https://jwt-api.example'; // whose access tokens are JWTs (RFC 9068)
const JWT_API_SERVER = { ...API_SERVER, audience: JWT_API, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const SIGNED_BY = ['RS256', 'PS256', 'ES256'];
const INTERVAL = 5; // seconds between polls where no interval is named (RFC 8628 §3.2)

export function withEverything(configuration, settings, aliases) {
  return {
    ...configuration,
    features: {
      ...configuration.features,
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      fapi: { enabled: true, profile: (_ctx, client) => (client?.clientId.startsWith('fapi') ? '2.0' : undefined) },
      jwtResponseModes: { enabled: true },
      requestObjects: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
      introspection: { enabled: true, allowedPolicy: () => true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: (ctx) => certificate(ctx)?.toString(),
        certificateAuthorized: (ctx) => ctx.socket.authorized === true,
        certificateSubjectMatches: (ctx, property, expected) => (
          property === 'tls_client_auth_subject_dn' && certificate(ctx).subject === expected
        ),
      },
      pushedAuthorizationRequests: { enabled: true },
      registration: { enabled: true, initialAccessToken: settings.initial_access_token },
      registrationManagement: { enabled: true },
      richAuthorizationRequests: {
        enabled: true,
        types: { payment: { validate: (_ctx, detail) => {
          if (!detail.amount) throw new errors.InvalidAuthorizationDetails('a payment has an amount');
        } } },
        authorizationDetailsForGrantSource: (ctx) => JSON.parse(ctx.oidc.params.authorization_details),
        authorizationDetailsForAccessToken: (ctx, _token, source) => (
          source?.rar ?? JSON.parse(ctx.oidc.params.authorization_details).map((detail) => ({ ...detail, payer: 'us' }))
        ),
        authorizationDetailsForIntrospection: (_ctx, token) => token.rar,
      },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (resource === JWT_API) return JWT_API_SERVER;
          if (resource !== API) throw new errors.InvalidTarget();
          return API_SERVER;
        },
      },
    },
    clientAuthMethods: [
      'none', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
      'tls_client_auth', 'self_signed_tls_client_auth',
    ],
    jwks: configuration.jwks ?? { keys: [newKey('rsa', { modulusLength: 2048 }), newKey('ec', { namedCurve: 'P-256' })] },
    discovery: { mtls_endpoint_aliases: aliases },
    enabledJWA: { authorizationSigningAlgValues: SIGNED_BY, idTokenSigningAlgValues: SIGNED_BY },
  };
}

// The same provider behind TLS, where it sees certificates (RFC 8705 §5); ends with the process.
export async function behindTls(tls, answer) {
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, answer);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = `https://localhost:${server.address().port}`;
  return {
    introspection_endpoint: `${at}/token/introspection`,
    pushed_authorization_request_endpoint: `${at}/request`,
    revocation_endpoint: `${at}/token/revocation`,
    token_endpoint: `${at}/token`,
    userinfo_endpoint: `${at}/me`,
  };
}

function newKey(kind, settings) {
  return { ...generateKeyPairSync(kind, settings).privateKey.export({ format: 'jwk' }), use: 'sig' };
}

function certificate(ctx) {
  return ctx.socket.getPeerX509Certificate?.();
}

// RFC 8693 for access tokens; a grant type of our own is how oidc-provider has it.
export function exchangeTokens(provider) {
  const parameters = ['subject_token', 'subject_token_type', 'resource', 'audience', 'scope', 'requested_token_type'];
  provider.registerGrantType('urn:ietf:params:oauth:grant-type:token-exchange', async (ctx) => {
    const { client, params } = ctx.oidc;
    if (params.subject_token_type !== ACCESS_TOKEN) throw new errors.InvalidRequest('unknown subject_token_type');
    const subject = await provider.ClientCredentials.find(params.subject_token);
    if (!subject?.isValid) throw new errors.InvalidRequest('the subject_token is not valid'); // RFC 8693 §2.2.2
    if (params.resource !== API) throw new errors.InvalidTarget();
    const token = new provider.ClientCredentials({ client, scope: params.scope });
    token.resourceServer = new provider.ResourceServer(API, API_SERVER);
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: ACCESS_TOKEN,
      token_type: 'Bearer',
      expires_in: token.expiration,
      scope: params.scope,
    };
  }, parameters);
}

// oidc-provider never says slow_down: here, to a poll that comes sooner than the interval (RFC 8628 §3.5).
export function slowDown() {
  const polls = new Map();
  return async (ctx, next) => {
    await next();
    if (ctx.body?.error !== 'authorization_pending') return;
    const { device_code: code } = ctx.oidc.body;
    const now = Date.now() / 1000;
    if (now - polls.get(code) < INTERVAL) ctx.body = { error: 'slow_down' };
    polls.set(code, now);
  };
}
