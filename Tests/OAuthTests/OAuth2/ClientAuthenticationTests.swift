import HTTP
import OAuth
import Primitives
import Testing

/// Who is believed to be which client at the token endpoint (RFC 6749 section 2.3).
struct ClientAuthenticationTests {
    private let grant = "grant_type=client_credentials"

    /// One answer for all who did not prove themselves, whatever is true of them.
    @Test(arguments: [
        ("nobody:wrong", TokenRequestError.Cause.unknownClient),
        ("s6BhdRkqt3:wrong", .wrongSecret),
        ("s6BhdRkqt3:", .wrongSecret),
        (":gX1fBat3bV", .unknownClient),
        (":", .unknownClient),
        ("oauth1only:", .unknownClient),
        ("oauth1only:anything", .unknownClient),
        ("no colon", .malformedCredentials),
        ("post-only:its-secret", .methodNotAllowed),
    ])
    func aStrangerLearnsNothing(basic: String, cause: TokenRequestError.Cause) throws {
        var exchange = try TokenExchange()
        try exchange.add("post-only", "its-secret", scopes: [], method: .post)
        let answer = try exchange.answer(grant, basic: basic)
        #expect(answer.error == .invalidClient(cause))
        #expect(answer.status == 401)
        #expect(
            String(decoding: answer.body, as: UTF8.self)
                == #"{"error":"invalid_client","error_description":"Client authentication failed."}"#
                + "\n")
    }

    /// A form or a scope is not judged for a client that has not proven itself.
    @Test(arguments: ["grant_type=password", "scope=admin", "client_id=other", "resource=x"])
    func nothingIsToldBeforeTheProof(body: String) throws {
        #expect(try TokenExchange().answer(body, basic: "s6BhdRkqt3:no").code == "invalid_client")
    }

    @Test func eachOfTwoLiveSecretsOpensAndNoOther() throws {
        var exchange = try TokenExchange()
        let hash = try ClientSecret.hash(Secret(utf8: "hashed"))
        exchange.clients["both"] = RegisteredClient(
            id: "both", secrets: [.plain(Secret(utf8: "from-a-file")), .hash(hash)], scopes: [],
            audiences: [], authMethod: nil)
        #expect(try exchange.answer(grant, basic: "both:from-a-file").status == 200)
        #expect(try exchange.answer(grant, basic: "both:hashed").status == 200)
        #expect(try exchange.answer(grant, basic: "both:\(hash)").status == 401)
        #expect(try exchange.answer(grant, basic: "both:other").status == 401)
    }

    /// An empty file, an empty secret that was hashed, a text that is no hash, the hash of strangers.
    @Test func aSecretThatCannotHoldOpensNothing() throws {
        let unusable: [RegisteredClient.KnownSecret] = [
            .plain(Secret([])), .hash(try ClientSecret.hash(Secret([]))), .hash(""),
            .hash("secret"), .hash(ClientSecret.decoy),
        ]
        for known in unusable {
            var exchange = try TokenExchange()
            exchange.clients["c"] = RegisteredClient(
                id: "c", secrets: [known], scopes: [], audiences: [], authMethod: nil)
            for presented in ["", "secret", "sha256$$", ClientSecret.decoy] {
                #expect(try exchange.answer(grant, basic: "c:\(presented)").status == 401)
            }
        }
    }

    @Test func aRegisteredMethodIsTheOnlyOne() throws {
        var exchange = try TokenExchange()
        try exchange.add("b", "secret", scopes: [], method: .basic)
        try exchange.add("p", "secret", scopes: [], method: .post)
        try exchange.add("e", "secret", scopes: [])
        for (id, byBasic, byPost) in [("b", 200, 401), ("p", 401, 200), ("e", 200, 200)] {
            let form = grant + "&client_id=\(id)&client_secret=secret"
            #expect(try exchange.answer(grant, basic: "\(id):secret").status == byBasic)
            #expect(try exchange.answer(form, basic: nil).status == byPost)
        }
    }

    /// K and the sign for kelvin are equal as `String`s; the ids are not the same bytes.
    @Test func anIDIsComparedByItsBytes() throws {
        var exchange = try TokenExchange()
        try exchange.add("K", "secret", scopes: [])
        #expect(try exchange.answer(grant, basic: "K:secret").status == 200)
        #expect(exchange.clients["\u{212A}"] != nil)
        #expect(try exchange.answer(grant, basic: "\u{212A}:secret").status == 401)
        let other = try exchange.answer(grant + "&client_id=%E2%84%AA", basic: "K:secret")
        #expect(other.code == "invalid_request")
    }

    @Test(arguments: [
        "grant_type=client_credentials&client_secret=gX1fBat3bV",
        "grant_type=client_credentials&oauth_signature=x",
        "grant_type=client_credentials&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV",
    ])
    func twoWaysBesideBasicAreRefused(body: String) throws {
        #expect(try TokenExchange().answer(body).code == "invalid_request")
    }

    /// Passing over an assertion because a secret came with it would accept what it was to prove.
    @Test(arguments: ["client_assertion=x.y.z", "client_assertion_type=urn:x"])
    func anAssertionIsNeverPassedOver(more: String) throws {
        let exchange = try TokenExchange()
        let form = "\(grant)&\(more)"
        let post = "&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV"
        #expect(try exchange.answer(form).code == "invalid_request")
        #expect(try exchange.answer(form + post, basic: nil).code == "invalid_request")
        let signed = form + "&oauth_signature=x"
        #expect(try exchange.answer(signed, basic: nil).code == "invalid_request")
        // One without the other says nothing.
        #expect(try exchange.answer(form, basic: nil).code == "invalid_request")
    }

    // MARK: OAuth 1.0

    private func signedHead(_ value: String?, bodyBytes: Int) throws -> RequestHead {
        var fields = [("Content-Type", "application/x-www-form-urlencoded")]
        if let value { fields.append(("Authorization", value)) }
        return try TokenExchange.head(fields: fields, bodyBytes: bodyBytes)
    }

    @Test(arguments: [
        ("OAuth oauth_consumer_key=\"oauth1only\"", ""), ("oauth", ""),
        (nil, "&oauth_signature=x"), ("OAuth x", "&oauth_signature=x"),
    ])
    func aSignatureThatWasProvenIsClientAuthentication(field: String?, more: String) throws {
        let exchange = try TokenExchange()
        let body = grant + more
        let head = try signedHead(field, bodyBytes: body.utf8.count)
        let answer = try exchange.answer(head, body, oauth1Client: "oauth1only")
        #expect(answer.status == 200)
        #expect(try answer.parts().claims["client_id"] as? String == "oauth1only")
        // Nobody has verified it, or its client is gone.
        #expect(try exchange.answer(head, body).code == "invalid_client")
        #expect(try exchange.answer(head, body, oauth1Client: "gone").code == "invalid_client")
    }

    @Test(arguments: [
        ("OAuth x", "&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV"),
        (nil, "&oauth_signature=x&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV"),
        ("OAuth x", "&client_id=s6BhdRkqt3"),
    ])
    func aSignatureBesideAnotherIdentityIsRefused(field: String?, more: String) throws {
        let body = grant + more
        let head = try signedHead(field, bodyBytes: body.utf8.count)
        let answer = try TokenExchange().answer(head, body, oauth1Client: "oauth1only")
        #expect(answer.error?.code == "invalid_request")
    }

    @Test func noSecretIsPrinted() throws {
        var text = ""
        let head = try signedHead(
            "Basic " + Base64.encode(Array("id:hush".utf8), .standard), bodyBytes: grant.utf8.count)
        let body = Array(grant.utf8)
        let request = try TokenRequest(head, body: body.span)
        dump(request, to: &text)
        dump(RegisteredClient.KnownSecret.plain(Secret(utf8: "hush")), to: &text)
        #expect(text.contains("redacted") && !text.contains("hush"))
        // "hush" as a list of bytes.
        #expect(!text.contains("104"))
    }
}
