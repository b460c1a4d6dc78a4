import Configuration
import OAuth
import Primitives
import Telemetry
import Testing

@testable import Gateway

@Suite struct PermitTests {
    private func decide(
        _ principal: Principal?, _ route: CompiledRoute, _ name: String = "GET",
        from address: String? = "192.0.2.1"
    ) -> Decision {
        Permit.decide(
            principal, on: route, method: method(name), methodName: Array(name.utf8).span,
            from: address.flatMap { IPAddress($0) })
    }

    /// The reason of a refusal; `nil` for a permit.
    private func reason(
        _ principal: Principal?, _ route: CompiledRoute, _ name: String = "GET",
        from address: String? = "192.0.2.1"
    ) -> Reason? {
        switch decide(principal, route, name, from: address) {
        case .permit: nil
        case .refuse(let refusal): refusal.reason
        }
    }

    struct RequirementCase: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var requirements: [Requirement]
        var method = "GET"
        var scopes: [String] = ["read", "write"]
        var audiences: [String] = ["https://api.example.com", "other"]
        /// The test's claims as JSON.
        var claims = #"""
            ,"tier":"gold","level":3,"staff":true,"groups":["ops","dev"],"nothing":null,"o":{}
            """#
        var expected: Reason?
    }

    static let requirements: [RequirementCase] = [
        .init(testDescription: "nothing required", requirements: [], scopes: [], expected: nil),
        .init(testDescription: "scope held", requirements: [.scopes(["read"], methods: [])]),
        .init(
            testDescription: "both held", requirements: [.scopes(["write", "read"], methods: [])]),
        .init(
            testDescription: "one of two lacking",
            requirements: [.scopes(["read", "admin"], methods: [])], expected: .insufficientScope),
        .init(
            testDescription: "no scope at all", requirements: [.scopes(["read"], methods: [])],
            scopes: [], expected: .insufficientScope),
        .init(
            testDescription: "a prefix is not the scope",
            requirements: [.scopes(["rea"], methods: [])], expected: .insufficientScope),
        .init(
            testDescription: "a longer one is not the scope",
            requirements: [.scopes(["read.all"], methods: [])], expected: .insufficientScope),
        .init(
            testDescription: "case matters", requirements: [.scopes(["READ"], methods: [])],
            expected: .insufficientScope),
        .init(
            testDescription: "a comma does not separate",
            requirements: [.scopes(["read"], methods: [])], scopes: ["read,write"],
            expected: .insufficientScope),
        .init(
            testDescription: "required of POST, asked for GET",
            requirements: [.scopes(["admin"], methods: ["POST"])]),
        .init(
            testDescription: "required of POST, asked for POST",
            requirements: [.scopes(["admin"], methods: ["POST"])], method: "POST",
            expected: .insufficientScope),
        .init(
            testDescription: "required of GET, asked for HEAD",
            requirements: [.scopes(["admin"], methods: ["GET"])], method: "HEAD",
            expected: .insufficientScope),
        .init(
            testDescription: "required of HEAD, asked for GET",
            requirements: [.scopes(["admin"], methods: ["HEAD"])], method: "GET"),
        .init(
            testDescription: "required of an extension method",
            requirements: [.scopes(["admin"], methods: ["PURGE"])], method: "PURGE",
            expected: .insufficientScope),
        .init(
            testDescription: "required of every method, asked for an unknown one",
            requirements: [.scopes(["admin"], methods: [])], method: "PURGE",
            expected: .insufficientScope),
        .init(testDescription: "audience held", requirements: [.audience("other")]),
        .init(
            testDescription: "audience lacking", requirements: [.audience("https://api.example")],
            expected: .wrongAudience),
        .init(
            testDescription: "no audience", requirements: [.audience("other")], audiences: [],
            expected: .wrongAudience),
        .init(
            testDescription: "claim equal",
            requirements: [.claim(name: "tier", values: ["silver", "gold"])]),
        .init(
            testDescription: "claim another value",
            requirements: [.claim(name: "tier", values: ["silver"])], expected: .claimMismatch),
        .init(
            testDescription: "claim absent", requirements: [.claim(name: "none", values: [""])],
            expected: .claimMismatch),
        .init(
            testDescription: "claim null",
            requirements: [.claim(name: "nothing", values: ["null"])],
            expected: .claimMismatch),
        .init(
            testDescription: "claim an object", requirements: [.claim(name: "o", values: ["{}"])],
            expected: .claimMismatch),
        .init(
            testDescription: "claim a number", requirements: [.claim(name: "level", values: ["3"])]),
        .init(
            testDescription: "claim another number",
            requirements: [.claim(name: "level", values: ["30"])], expected: .claimMismatch),
        .init(
            testDescription: "claim true", requirements: [.claim(name: "staff", values: ["true"])]),
        .init(
            testDescription: "claim not false",
            requirements: [.claim(name: "staff", values: ["false"])], expected: .claimMismatch),
        .init(
            testDescription: "claim holds the value",
            requirements: [.claim(name: "groups", values: ["dev"])]),
        .init(
            testDescription: "claim does not hold the value",
            requirements: [.claim(name: "groups", values: ["ops dev"])], expected: .claimMismatch),
        .init(
            testDescription: "client named", requirements: [.clients(["client-2", "client-1"])]),
        .init(
            testDescription: "client not named", requirements: [.clients(["client-10", "client"])],
            expected: .clientNotAllowed),
        .init(
            testDescription: "bound to a key", requirements: [.dpop],
            claims: #","cnf":{"jkt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#),
        .init(
            testDescription: "not bound to a key", requirements: [.dpop], expected: .proofMismatch),
        .init(
            testDescription: "bound to a certificate alone", requirements: [.dpop],
            claims: #","cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
            expected: .proofMismatch),
        .init(
            testDescription: "the first that fails is the reason",
            requirements: [
                .scopes(["read"], methods: []), .audience("nobody"), .clients(["nobody"]),
            ], expected: .wrongAudience),
    ]

    @Test(arguments: requirements)
    func aBearerTokenMeetsRequirements(_ example: RequirementCase) throws {
        let principal = try Principals.bearer(
            scopes: example.scopes, audiences: example.audiences, claims: example.claims)
        let route = compiled { $0.requirements = example.requirements }
        switch decide(principal, route, example.method) {
        case .permit(let permit):
            #expect(example.expected == nil)
            #expect(permit.principal === principal)
            #expect(permit.route === route)
        case .refuse(let refusal):
            #expect(refusal.reason == example.expected)
            #expect(refusal.status == (refusal.reason == .proofMismatch ? 401 : 403))
            #expect(refusal.attempted == .bearer)
        }
    }

    /// Whoever gives the name belongs to it: another issuer's client may have any.
    @Test(arguments: [
        (true, nil, true), (true, "test", false), (false, nil, false), (false, "test", true),
        (false, "other", false),
    ])
    func aClientIsOneOfItsIssuer(isOurs: Bool, issuer: String?, isMet: Bool) throws {
        let principal = try Principals.bearer(isOurs: isOurs)
        let route = compiled { $0.requirements = [.clients(["client-1"], of: issuer)] }
        #expect(reason(principal, route) == (isMet ? nil : .clientNotAllowed))
        let ours: Reason? = issuer == nil ? nil : .clientNotAllowed
        #expect(reason(Principals.oauth1("client-1"), route) == ours)
        let certificate = Principal.certificate(clientID: "client-1", scopes: [], audiences: [])
        let certified = compiled {
            $0.authenticate = .any([.certificate])
            $0.requirements = [.clients(["client-1"], of: issuer)]
        }
        #expect(reason(certificate, certified) == ours)
    }

    @Test func anOAuth1ClientMeetsRequirementsByItsRegistration() {
        let partner = Principals.oauth1(scopes: ["read"], audiences: ["orders"])
        #expect(
            reason(partner, compiled { $0.requirements = [.scopes(["read"], methods: [])] }) == nil)
        #expect(reason(partner, compiled { $0.requirements = [.audience("orders")] }) == nil)
        #expect(reason(partner, compiled { $0.requirements = [.clients(["partner"])] }) == nil)
        #expect(
            reason(partner, compiled { $0.requirements = [.scopes(["write"], methods: [])] })
                == .insufficientScope)
        // It has no claims, so a claim is never met.
        #expect(
            reason(
                partner, compiled { $0.requirements = [.claim(name: "sub", values: ["partner"])] })
                == .claimMismatch)
    }

    /// `String` takes the two for equal; a store or an upstream may not.
    @Test func anotherNormalFormOfTheSameNameIsAnotherName() {
        let partner = Principals.oauth1(
            "cafe\u{301}", scopes: ["cafe\u{301}"], audiences: ["cafe\u{301}"])
        let requirements: [(Requirement, Reason)] = [
            (.scopes(["caf\u{E9}"], methods: []), .insufficientScope),
            (.audience("caf\u{E9}"), .wrongAudience), (.clients(["caf\u{E9}"]), .clientNotAllowed),
        ]
        for (requirement, expected) in requirements {
            #expect(reason(partner, compiled { $0.requirements = [requirement] }) == expected)
        }
    }

    @Test func theRefusalNamesEveryScopeThatTheMethodNeeds() throws {
        let route = compiled {
            $0.requirements = [
                .scopes(["read", "list"], methods: []),
                .scopes(["write", "read"], methods: ["POST"]),
                .scopes(["purge"], methods: ["DELETE"]),
            ]
        }
        guard
            case .refuse(let refusal) = decide(
                try Principals.bearer(scopes: ["read"]), route, "POST")
        else {
            Issue.record("permitted")
            return
        }
        #expect(String(decoding: refusal.neededScopes, as: UTF8.self) == "read list write")
    }

    static let policies:
        [(AuthenticationPolicy, none: Bool, bearer: Bool, oauth1: Bool, both: Bool)] =
            [
                (.open, true, true, true, true),
                (.any([.bearer]), false, true, false, true),
                (.any([.oauth1]), false, false, true, true),
                (.any([.bearer, .oauth1]), false, true, true, true),
                (.all([.bearer, .oauth1]), false, false, false, true),
                // Cannot be written in a conf; if it came about, nothing would suffice.
                (.any([]), false, false, false, false),
                (.all([]), false, false, false, false),
            ]

    @Test(arguments: policies)
    func aProofMustBeOneThatTheRouteTakes(
        _ policy: (AuthenticationPolicy, none: Bool, bearer: Bool, oauth1: Bool, both: Bool)
    ) throws {
        let route = compiled { $0.authenticate = policy.0 }
        let both = try #require(
            Principal.bearerAndOAuth1(try Principals.token("client-1"), clientID: "client-1"))
        let wanted: (Bool) -> Reason? = { $0 ? nil : .noCredentials }
        #expect(reason(nil, route) == wanted(policy.none))
        #expect(reason(try Principals.bearer(), route) == wanted(policy.bearer))
        #expect(reason(Principals.oauth1(), route) == wanted(policy.oauth1))
        #expect(reason(both, route) == wanted(policy.both))
    }

    @Test func anOpenRouteForwardsForNobody() throws {
        let route = compiled { $0.authenticate = .open }
        guard case .permit(let permit) = decide(try Principals.bearer(), route) else {
            Issue.record("refused")
            return
        }
        #expect(permit.principal == nil)
    }

    @Test func anOpenRouteWithRequirementsIsClosed() throws {
        let route = compiled {
            $0.authenticate = .open
            $0.requirements = [.clients(["client-1"])]
        }
        #expect(reason(nil, route) == .noCredentials)
        #expect(reason(try Principals.bearer(), route) == .noCredentials)
    }

    /// `sub` is optional in a token; what compares it then finds nothing.
    @Test func aTokenWithoutASubject() throws {
        let principal = try Principals.bearer(subject: nil)
        var subject: [UInt8] = []
        principal.appendSubject(to: &subject)
        #expect(subject.isEmpty)
        let route = compiled { $0.requirements = [.claim(name: "sub", values: [""])] }
        #expect(reason(principal, route) == .claimMismatch)
    }

    @Test func twoCredentialsMustNameTheSameClient() throws {
        let token = try Principals.token("client-1")
        #expect(Principal.bearerAndOAuth1(token, clientID: "client-2") == nil)
        #expect(
            Principal.bearerAndOAuth1(token, clientID: "client-1")?.schemes == [.bearer, .oauth1])
        let outside = try Principals.token("client-1", isOurs: false)
        #expect(Principal.bearerAndOAuth1(outside, clientID: "client-1") == nil)
        let ours = Principal.bearer(token).withCertificate(ofClient: "client-1")
        #expect(ours?.schemes == [.bearer, .certificate])
        #expect(Principal.bearer(token).withCertificate(ofClient: "client-2") == nil)
        #expect(Principal.bearer(outside).withCertificate(ofClient: "client-1") == nil)
    }

    static let addresses: [(rules: [String], address: String?, permitted: Bool)] = [
        ([], "192.0.2.1", true),
        ([], nil, true),
        (["+192.0.2.0/24"], "192.0.2.1", true),
        (["+192.0.2.0/24"], "198.51.100.1", false),
        (["+192.0.2.0/24"], "::ffff:192.0.2.1", true),
        (["+192.0.2.0/24"], "2001:db8::1", false),
        (["+192.0.2.0/24"], nil, false),
        (["-192.0.2.0/24"], "192.0.2.1", false),
        (["-192.0.2.0/24"], "::ffff:192.0.2.1", false),
        (["-192.0.2.0/24"], "198.51.100.1", true),
        (["-192.0.2.0/24"], nil, false),
        (["+192.0.2.1", "-192.0.2.0/24"], "192.0.2.1", true),
        (["+192.0.2.1", "-192.0.2.0/24"], "192.0.2.2", false),
        (["-192.0.2.1", "+192.0.2.0/24"], "192.0.2.1", false),
        (["-192.0.2.1", "+192.0.2.0/24"], "192.0.2.2", true),
        (["-192.0.2.1", "+192.0.2.0/24"], "198.51.100.1", false),
        (["+0.0.0.0/0"], "2001:db8::1", false),
        (["+2001:db8::/32"], "2001:db8:1::1", true),
    ]

    @Test(arguments: addresses)
    func theFirstAddressRuleThatMatchesDecides(
        rules: [String], address: String?, permitted: Bool
    ) throws {
        let parsed = try rules.map { rule in
            AddressRule(
                allows: rule.hasPrefix("+"),
                prefixes: [try #require(IPPrefix(String(rule.dropFirst())))])
        }
        for policy in [AuthenticationPolicy.open, .any([.bearer])] {
            let route = compiled {
                $0.authenticate = policy
                $0.addressRules = parsed
            }
            #expect(
                reason(try Principals.bearer(), route, from: address)
                    == (permitted ? nil : .addressDenied))
        }
    }

    @Test func theAddressComesBeforeEverythingElse() throws {
        let route = compiled {
            $0.addressRules = [AddressRule(allows: false, prefixes: [])]
            $0.addressRules[0].prefixes = ["0.0.0.0/0"].compactMap(IPPrefix.init)
            $0.methods = ["GET"]
        }
        #expect(reason(nil, route, "POST") == .addressDenied)
    }

    @Test(arguments: ["POST", "HEAD", "TRACE", "CONNECT", "get"])
    func aMethodThatIsNotTakenIsRefusedWithThoseThatAre(name: String) throws {
        let route = compiled { $0.methods = ["GET", "PUT"] }
        guard case .refuse(let refusal) = decide(try Principals.bearer(), route, name) else {
            Issue.record("permitted")
            return
        }
        #expect(refusal.reason == .methodNotAllowed)
        #expect(refusal.status == 405)
        #expect(String(decoding: refusal.allow, as: UTF8.self) == "GET, PUT")
    }

    @Test(arguments: ["TRACE", "CONNECT"])
    func traceAndConnectAreRefusedOnOpenRoutesToo(name: String) {
        #expect(reason(nil, compiled { $0.authenticate = .open }, name) == .methodNotAllowed)
    }
}
