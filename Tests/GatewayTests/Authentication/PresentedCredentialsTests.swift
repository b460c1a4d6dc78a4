import Configuration
import OAuth
import Telemetry
import Testing

@testable import Gateway

/// Which credential a head carries, and what comes of it on a route.
struct PresentedCredentialsTests {
    private func find(_ fields: String) throws -> (PresentedCredentials, String) {
        let head = try requestHead("GET /x HTTP/1.1\nHost: h\(fields.isEmpty ? "" : "\n" + fields)")
        let verifier = try OAuth1Verifier(policy: OAuth1Policy(OAuth1Configuration()))
        let found = PresentedCredentials.find(in: head, verifier)
        guard case .bearer(let token) = found else { return (found, "") }
        return (found, String(decoding: head.bytes[token.range], as: UTF8.self))
    }

    @Test(arguments: [
        ("Bearer abc", TokenScheme.bearer, "abc"), ("bearer   a.b-c_~+/==", .bearer, "a.b-c_~+/=="),
        ("DPoP abc", .dpop, "abc"), ("dpop abc", .dpop, "abc"), ("DPOP  a.b.c", .dpop, "a.b.c"),
    ])
    func aTokenIsFoundBySchemeAndPlace(line: String, scheme: TokenScheme, token: String) throws {
        let (found, text) = try find("Authorization: \(line)")
        #expect(found.tokenScheme == scheme)
        #expect(text == token)
    }

    @Test(arguments: [
        ("Bearer", TokenScheme.bearer), ("Bearer a b", .bearer), ("Bearer\ta", .bearer),
        ("DPoP", .dpop), ("DPoP a b", .dpop), ("DPoP\ta", .dpop), ("DPoP =a", .dpop),
        ("DPoP a=b", .dpop), ("dpop \"a\"", .dpop),
    ])
    func aFieldWithoutATokenIsMalformed(line: String, scheme: TokenScheme) throws {
        #expect(try find("Authorization: \(line)").0 == .malformed(scheme))
    }

    @Test(arguments: ["", "Authorization: DPoPx a", "Authorization: Bearer1 a", "DPoP: eyJ"])
    func anythingElseIsNone(fields: String) throws {
        #expect(try find(fields).0 == PresentedCredentials.none)
    }

    @Test func twoFieldsAreNobodys() throws {
        let two = "Authorization: DPoP a\nAuthorization: Bearer a"
        #expect(try find(two).0 == .duplicate)
    }

    private func plan(
        _ policy: AuthenticationPolicy, _ found: PresentedCredentials, hasCertificate: Bool = false
    ) -> CredentialPlan {
        CredentialPlan(CredentialRule(policy), found, hasCertificate: hasCertificate)
    }

    /// A token by either scheme is one kind of credential.
    @Test func aRouteTakesBothSchemesOrNone() throws {
        for line in ["Bearer a", "DPoP a"] {
            let found = try find("Authorization: \(line)").0
            guard case .bearer(let token) = found else {
                Issue.record("\(found)")
                continue
            }
            #expect(plan(.any([.bearer, .oauth1]), found) == .bearer(token))
            #expect(plan(.any([.oauth1]), found) == .refuse(.noCredentials))
            #expect(plan(.all([.bearer, .oauth1]), found) == .refuse(.noCredentials))
            // A certificate stands beside the token, never in its place.
            for hasCertificate in [false, true] {
                #expect(
                    plan(
                        .all([.bearer, .certificate]), found, hasCertificate: hasCertificate)
                        == .bearer(token))
                #expect(
                    plan(
                        .all([.certificate, .bearer]), .none, hasCertificate: hasCertificate)
                        == .searchForm)
                #expect(
                    plan(
                        .all([.oauth1, .certificate]), found, hasCertificate: hasCertificate)
                        == .refuse(.noCredentials))
            }
            #expect(
                plan(.any([.certificate]), found, hasCertificate: true) == .certificate)
        }
        #expect(
            plan(.any([.bearer]), .malformed(.dpop)) == .refuse(.malformedCredentials))
    }
}
