import Cryptography
import OAuth
import Primitives
import Testing

/// Tokens that are bound to a key (RFC 9449 section 6), to a certificate (RFC 8705 section 3), or to both.
struct BoundTokenTests {
    private let exchange: TokenExchange
    private let verifier: TokenVerifier
    private let print = Array(repeating: UInt8(7), count: 32)
    private let other = Array(repeating: UInt8(9), count: 32)

    init() throws {
        exchange = try TokenExchange()
        verifier = TokenVerifier(issuers: [
            TrustedIssuer(
                name: "authority", issuer: TokenExchange.issuer, audiences: ["api"],
                algorithms: [.es256],
                keys: try KeySet(
                    jwks: JWKSDocument.write([exchange.key.published]), allowsSymmetric: false))
        ])
    }

    private func grant(certificate: [UInt8]?, key: [UInt8]?) -> TokenGrant {
        TokenGrant(
            issuer: TokenExchange.issuer, clientID: "c", audiences: ["api"], scopes: ["read"],
            issuedAt: TokenExchange.now.seconds, expiresAt: TokenExchange.now.seconds + 60,
            tokenID: "id", certificateThumbprint: certificate, keyThumbprint: key)
    }

    private func verify(_ claims: [UInt8]) throws -> VerifiedToken {
        let token = try JWTSigner.sign(claims: claims, with: exchange.key)
        return try verifier.verify(token.span, now: TokenExchange.now)
    }

    @Test func whatAGrantBindsTheTokenTells() throws {
        for (certificate, key) in [(nil, nil), (print, nil), (nil, print), (print, other)] {
            let grant = grant(certificate: certificate, key: key)
            let token = try verify(grant.claims)
            #expect(token.certificateThumbprint == certificate)
            #expect(token.keyThumbprint == key)
            #expect(token.issuedAt == TokenExchange.now.seconds)
            let cnf = try JSON.object(grant.claims)["cnf"] as? [String: String]
            #expect(cnf?["jkt"] == key.map { Base64.encode($0, .url) })
            #expect(cnf?["x5t#S256"] == certificate.map { Base64.encode($0, .url) })
            let reply = try JSON.object(grant.reply(token: Array("t".utf8)))
            #expect(reply["token_type"] as? String == (key == nil ? "Bearer" : "DPoP"))
        }
    }

    @Test func aProofAtTheTokenEndpointBindsTheToken() throws {
        let client = try #require(exchange.clients["s6BhdRkqt3"])
        let grant = try TokenEndpoint.grant(
            TokenRequest(scopes: []), to: client, under: exchange.policy, now: TokenExchange.now,
            tokenID: "id", keyThumbprint: print)
        #expect(grant.keyThumbprint == print && grant.tokenType == "DPoP")
    }

    @Test(arguments: [
        ("{}", TokenError.confirmationRequired), ("[]", .confirmationRequired),
        (#"{"kid":"x"}"#, .confirmationRequired), (#"{"jwk":{}}"#, .confirmationRequired),
        (#"{"jkt":"JKT","kid":"x"}"#, .confirmationRequired),
        (#"{"jkt":"JKT","x5t#S256":"JKT","x":1}"#, .confirmationRequired),
        (#"{"jkt":"AAAA"}"#, .invalidClaim("cnf")), (#"{"jkt":1}"#, .invalidClaim("cnf")),
        (#"{"jkt":"JKT","x5t#S256":""}"#, .invalidClaim("cnf")),
    ])
    func anotherBindingIsGoodForNobody(cnf: String, error: TokenError) throws {
        let cnf = cnf.replacing("JKT", with: Base64.encode(print, .url))
        var claims = String(decoding: grant(certificate: nil, key: nil).claims, as: UTF8.self)
        claims.removeLast()
        #expect(throws: error) { try verify(Array("\(claims),\"cnf\":\(cnf)}".utf8)) }
    }
}
