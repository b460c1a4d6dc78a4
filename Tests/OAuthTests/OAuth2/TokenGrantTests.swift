import OAuth
import Primitives
import Testing

/// What a proven client is granted.
struct TokenGrantTests {
    private let grant = "grant_type=client_credentials"

    private func exchange(
        policyScopes: [String] = [], policyAudiences: [String] = [], audiences: [String] = []
    ) throws -> TokenExchange {
        var exchange = try TokenExchange()
        exchange.policy = AuthorityPolicy(
            issuer: TokenExchange.issuer, audiences: policyAudiences, tokenLifetimeSeconds: 600,
            scopes: policyScopes)
        try exchange.add(
            "c", "secret", scopes: ["read", "write", "mail:send"], audiences: audiences)
        return exchange
    }

    @Test(arguments: [
        ("", [], "read write mail:send"), ("&scope=", [], "read write mail:send"),
        ("&scope=write", [], "write"), ("&scope=write+read", [], "write read"),
        ("&scope=read+read", [], "read"), ("&scope=mail:send", [], "mail:send"),
        ("", ["write", "other"], "write"), ("&scope=write", ["write"], "write"),
    ])
    func scopesThatAreTheClientsAreGranted(
        asked: String, policy: [String], granted: String
    ) throws {
        let answer = try exchange(policyScopes: policy).answer(grant + asked, basic: "c:secret")
        #expect(answer.scope == granted)
        #expect(try answer.parts().claims["scope"] as? String == granted)
    }

    @Test(arguments: [
        ("admin", []), ("Read", []), ("read+", []), ("+read", []), ("read++write", []), ("+", []),
        ("read,write", []), ("read%0Awrite", []), ("rea", []), ("%E2%84%AA", []),
        ("read", ["write"]),
        ("other", ["other"]),
    ])
    func everyOtherScopeIsRefused(asked: String, policy: [String]) throws {
        let answer = try exchange(policyScopes: policy)
            .answer(grant + "&scope=" + asked, basic: "c:secret")
        #expect(answer.error == .invalidScope)
    }

    /// Its certificate may have ended since it proved the client: nothing is granted that is good without.
    @Test func aClientThatIsKnownByItsCertificateGetsNothingWithoutOne() throws {
        let exchange = try exchange()
        let client = RegisteredClient(
            id: "machine", secrets: [], scopes: ["read"], audiences: [], authMethod: .tls)
        let head = try TokenExchange.head(
            fields: [("Content-Type", "application/x-www-form-urlencoded")],
            bodyBytes: grant.utf8.count)
        let request = try TokenRequest(head, body: grant.utf8Span.span)
        #expect(throws: TokenRequestError.invalidClient(.wrongCertificate)) {
            try TokenEndpoint.grant(
                request, to: client, under: exchange.policy, now: TokenExchange.now, tokenID: "t")
        }
    }

    @Test func aClientWithoutScopesGetsATokenWithoutThem() throws {
        let answer = try TokenExchange().answer(grant, basic: "noscope:secret-of-noscope")
        #expect(answer.json["scope"] == nil)
        #expect(try answer.parts().claims["scope"] == nil)
    }

    @Test(arguments: [
        ("", ["https://a", "https://b"]), ("&resource=https://b", ["https://b"]),
        ("&audience=https://b", ["https://b"]),
        ("&audience=https://b&resource=https://a", ["https://b", "https://a"]),
        ("&resource=https://a&resource=https://b", ["https://a", "https://b"]),
        ("&resource=https://a&audience=https://a&resource=https://a", ["https://a"]),
    ])
    func audiencesThatAreTheClientsAreGranted(asked: String, granted: [String]) throws {
        let answer = try exchange(audiences: ["https://a", "https://b"])
            .answer(grant + asked, basic: "c:secret")
        let audience = try answer.parts().claims["aud"]
        #expect((audience as? [String] ?? [audience as? String ?? ""]) == granted)
    }

    @Test(arguments: [
        "resource=https://c", "audience=https://gateway.example.com", "resource=https://a/",
        "resource=https://a&resource=https://c", "audience=https://c&resource=https://a",
        "resource=HTTPS://A", "resource=https://a%23f",
    ])
    func everyOtherAudienceIsRefused(asked: String) throws {
        let answer = try exchange(audiences: ["https://a"])
            .answer(grant + "&" + asked, basic: "c:secret")
        #expect(answer.error == .invalidTarget)
        #expect(answer.code == "invalid_target")
        #expect(answer.status == 400)
    }

    /// K and the sign for kelvin are equal as `String`s.
    @Test func anAudienceIsComparedByItsBytes() throws {
        let exchange = try exchange(audiences: ["K"])
        #expect(try exchange.answer(grant + "&resource=K", basic: "c:secret").status == 200)
        let kelvin = try exchange.answer(grant + "&resource=%E2%84%AA", basic: "c:secret")
        #expect(kelvin.error == .invalidTarget)
    }

    @Test func withoutAnAudienceTheTokenIsForThePolicysOrTheIssuer() throws {
        let issuer = try exchange().answer(grant, basic: "c:secret").parts()
        #expect(issuer.claims["aud"] as? String == TokenExchange.issuer)
        let policy = try exchange(policyAudiences: ["x", "y"])
            .answer(grant, basic: "c:secret").parts()
        #expect(policy.claims["aud"] as? [String] == ["x", "y"])
    }

    /// What a client or operator put into a name cannot end the JSON string it stands in.
    @Test func everyTextIsWrittenAsJSON() throws {
        let id = "a\"b\\c\u{1}\u{e9}\u{2028}\u{1F511}"
        let made = TokenGrant(
            issuer: id, clientID: id, audiences: [id, id], scopes: [], issuedAt: -1,
            expiresAt: .max, tokenID: id)
        let claims = try JSON.object(made.claims)
        #expect(claims["iss"] as? String == id)
        #expect(claims["client_id"] as? String == id)
        #expect(claims["aud"] as? [String] == [id, id])
        #expect(claims["jti"] as? String == id)
        #expect(claims["exp"] as? Int64 == .max)
    }

    @Test(arguments: [
        (TokenRequestError.invalidRequest("x"), "invalid_request", 400),
        (.invalidClient(.wrongSecret), "invalid_client", 401),
        (.unsupportedGrantType, "unsupported_grant_type", 400),
        (.invalidScope, "invalid_scope", 400), (.invalidTarget, "invalid_target", 400),
    ])
    func anErrorHasItsCodeAndATextOfItsAlphabet(
        error: TokenRequestError, code: String, status: Int
    ) throws {
        let json = try JSON.object(error.body)
        #expect(Set(json.keys) == ["error", "error_description"])
        #expect(json["error"] as? String == code)
        #expect(error.status == status)
        // RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E.
        let text = json["error_description"] as? String ?? ""
        #expect(!text.isEmpty)
        #expect(text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C })
    }

    /// A client that is known by its certificate gets bound tokens alone: a signature would bring one that is not. And one
    /// that has a key shows that.
    @Test(arguments: [RegisteredClient.AuthMethod.tls, .privateKeyJWT])
    func aSignatureIsNoCertificate(method: RegisteredClient.AuthMethod) {
        let client = RegisteredClient(
            id: "robot", secrets: [], scopes: ["read"], audiences: [], authMethod: method,
            certificate: .dns("robot.test"))
        #expect(throws: TokenRequestError.invalidClient(.methodNotAllowed)) {
            try TokenEndpoint.accept(oauth1Client: client, TokenRequest(scopes: []))
        }
    }
}
