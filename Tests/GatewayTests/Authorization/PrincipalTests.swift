import OAuth
import Testing

@testable import Gateway

@Suite struct PrincipalTests {
    private func text(_ principal: Principal) -> String {
        String(decoding: principal.identityFields, as: UTF8.self)
    }

    @Test func aTokenFillsEveryField() throws {
        let principal = try Principals.bearer(scopes: ["read", "write"])
        #expect(
            text(principal) == """
                X-Auth-Scheme: bearer\r
                X-Auth-Client: client-1\r
                X-Auth-Subject: subject-1\r
                X-Auth-Scopes: read write\r
                X-Auth-Issuer: https://issuer.example.com\r

                """)
    }

    @Test func anOAuth1ClientIsItsOwnSubjectAndHasNoIssuer() {
        #expect(
            text(Principals.oauth1("partner")) == """
                X-Auth-Scheme: oauth1\r
                X-Auth-Client: partner\r
                X-Auth-Subject: partner\r

                """)
    }

    @Test func theLogHasWhatTheUpstreamHas() throws {
        func texts(_ principal: Principal) -> [String] {
            [principal.appendClient, principal.appendSubject, principal.appendScopes].map {
                var text: [UInt8] = []
                $0(&text)
                return String(decoding: text, as: UTF8.self)
            }
        }
        let bearer = try Principals.bearer(scopes: ["read", "write"])
        #expect(texts(bearer) == ["client-1", "subject-1", "read write"])
        #expect(texts(try Principals.bearer(subject: nil)) == ["client-1", "", ""])
        #expect(
            texts(Principals.oauth1("partner", scopes: ["", "a", "b"]))
                == ["partner", "partner", "a b"])
    }
}
