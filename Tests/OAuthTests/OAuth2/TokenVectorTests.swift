import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// The 107 cases of the table `token` of token_endpoint.json. What the gateway adds to an answer (Content-Type,
/// Cache-Control, the Basic challenge, 405 with Allow) is for its own tests; here is what the rules decide.
struct TokenVectorTests {
    struct Case: CustomTestStringConvertible {
        let id: String
        let method: String
        let target: String
        let fields: [(String, String)]
        let body: String
        /// What may happen; the first of the vector's alternatives is the best.
        let alternatives: [Expectation]
        var testDescription: String { id }
    }

    struct Expectation {
        let statuses: [Int]
        let errors: [String]?
        let scope: String?
        let absent: [String]

        init(_ object: [String: Any]) {
            statuses = object["status"] as? [Int] ?? []
            errors = object["error"] as? [String]
            scope = (object["json"] as? [String: Any])?["scope"] as? String
            absent = object["absent_json"] as? [String] ?? []
        }

        /// Why the answer is none of what is expected here; `nil` when it is.
        func fault(_ answer: TokenExchange.Answer) -> String? {
            guard statuses.contains(answer.status) else { return "status \(answer.status)" }
            if answer.status == 200 {
                guard answer.token?.isEmpty == false else { return "no token" }
                guard answer.json["token_type"] as? String == "Bearer" else { return "token_type" }
                guard answer.json["expires_in"] as? Int == 600 else { return "expires_in" }
                // "read write (any order)"
                if let words = scope?.split(separator: " (").first?.split(separator: " "),
                    Set(words) != Set((answer.scope ?? "").split(separator: " "))
                {
                    return "scope \(answer.scope ?? "none")"
                }
                return unwelcome(answer)
            }
            // A table of 200 or 400 names the members of the 200 alone.
            if let errors, !errors.contains(answer.code ?? "") {
                return "error \(answer.code ?? "")"
            }
            guard answer.json["access_token"] == nil else { return "a token beside an error" }
            return errors == nil ? nil : unwelcome(answer)
        }

        private func unwelcome(_ answer: TokenExchange.Answer) -> String? {
            absent.first { answer.json[$0] != nil }.map { "\($0) is there" }
        }
    }

    static let cases: [Case] = {
        let table = (try? Fixtures.json("token_endpoint.json"))?["token"] as? [[String: Any]] ?? []
        return table.map { vector in
            let request = vector["request"] as? [String: Any] ?? [:]
            let expect = vector["expect"] as? [String: Any] ?? [:]
            // Of a request sent twice the first answer is the expectation here.
            let first = expect["first"] as? [String: Any] ?? expect
            return Case(
                id: vector["id"] as? String ?? "", method: request["method"] as? String ?? "",
                target: request["target"] as? String ?? "",
                fields: (request["headers"] as? [[String]] ?? []).map { ($0[0], $0[1]) },
                body: request["body"] as? String ?? "",
                alternatives: (first["either"] as? [[String: Any]] ?? [first]).map(Expectation.init)
            )
        }
    }()

    /// The gateway answers them before the rules see them: only POST comes here.
    static let otherMethods: Set = ["method-get", "method-put", "method-head", "method-options"]

    static let decided = cases.filter { !otherMethods.contains($0.id) }

    private func send(_ vector: Case, _ exchange: TokenExchange) throws -> TokenExchange.Answer {
        let head = try TokenExchange.head(
            vector.method, vector.target, fields: vector.fields, bodyBytes: vector.body.utf8.count)
        return try exchange.answer(head, vector.body)
    }

    @Test func theTableIsWhole() {
        #expect(Self.cases.count == 107)
        #expect(Set(Self.cases.map(\.id)).count == 107)
        #expect(Self.cases.filter { Self.otherMethods.contains($0.id) }.count == 4)
        #expect(Self.decided.count == 103)
        #expect(Self.decided.allSatisfy { $0.method == "POST" && !$0.alternatives.isEmpty })
    }

    @Test(arguments: decided, TokenExchange.Secrets.allCases)
    func everyRequestIsDecidedAsTheTableSays(vector: Case, secrets: TokenExchange.Secrets) throws {
        let answer = try send(vector, TokenExchange(secrets))
        let faults = vector.alternatives.map { $0.fault(answer) }
        #expect(faults.contains(nil), "\(faults) \(String(decoding: answer.body, as: UTF8.self))")
    }

    /// Where the table leaves it open: an audience may stand in an array, a key without a `kid` is found, an `exp` of
    /// next year and a missing `jti` are refused.
    static let assertionsThatHold: Set = [
        "pkjwt-ok", "pkjwt-ok-rs256", "pkjwt-ok-aud-issuer", "pkjwt-ok-aud-array",
        "pkjwt-ok-with-client-id", "pkjwt-ok-no-kid", "pkjwt-replay",
    ]

    @Test(arguments: cases.filter { $0.id.hasPrefix("pkjwt-") })
    func theseAssertionsHoldAndNoOther(vector: Case) throws {
        var exchange = try TokenExchange()
        let answer = try send(vector, exchange)
        #expect((answer.status == 200) == Self.assertionsThatHold.contains(vector.id))
        // Where none is taken none is passed over either.
        exchange.assertions = nil
        #expect(try send(vector, exchange).token == nil)
    }

    @Test func assertionsAreTwentyNine() {
        #expect(Self.cases.count { $0.id.hasPrefix("pkjwt-") } == 29)
    }

    /// RFC 9068 section 2 by the table `access_token_shape`, and our own verifier takes what our authority makes.
    @Test func everyTokenHasTheShapeOfRFC9068AndIsBelieved() throws {
        let shape = try Fixtures.json("token_endpoint.json")["access_token_shape"] as? [String: Any]
        let names = Set((shape?["claims"] as? [String: Any] ?? [:]).keys)
        #expect(names.count == 8)
        let exchange = try TokenExchange()
        let verifier = TokenVerifier(issuers: [
            TrustedIssuer(
                name: "authority", issuer: TokenExchange.issuer,
                audiences: exchange.policy.audiences, algorithms: [.es256], requiredType: "at+jwt",
                clockSkewSeconds: 0,
                keys: try KeySet(
                    jwks: JWKSDocument.write([exchange.key.published]), allowsSymmetric: false),
                isOwnAuthority: true)
        ])
        var count = 0
        for vector in Self.decided {
            let answer = try send(vector, exchange)
            guard let token = answer.token else { continue }
            count += 1
            let (header, claims) = try answer.parts()
            #expect(header["typ"] as? String == "at+jwt")
            #expect(header["alg"] as? String == "ES256")
            #expect(header["kid"] as? String == exchange.key.keyID)
            let scope = answer.scope
            #expect(Set(claims.keys) == names.subtracting(scope == nil ? ["scope"] : []))
            #expect(claims["iss"] as? String == TokenExchange.issuer)
            #expect(claims["aud"] as? String == TokenExchange.issuer)
            #expect(claims["sub"] as? String == claims["client_id"] as? String)
            #expect(claims["scope"] as? String == scope)
            #expect(claims["jti"] as? String == "id-1")
            #expect(claims["iat"] as? Int64 == TokenExchange.now.seconds)
            #expect(claims["exp"] as? Int64 == TokenExchange.now.seconds + 600)
            let bytes = Array(token.utf8)
            let proven = try verifier.verify(bytes.span, now: TokenExchange.now)
            #expect(proven.clientID == claims["client_id"] as? String)
            #expect(proven.scopes == (scope ?? "").split(separator: " ").map(String.init))
            #expect(proven.isFromOwnAuthority)
        }
        // Twenty-five that must be granted; a scope asked for twice and two assertions, which may be.
        #expect(count == 28)
    }
}
