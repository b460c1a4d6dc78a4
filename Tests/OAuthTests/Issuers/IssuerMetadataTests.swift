import Cryptography
import Primitives
import Testing

@testable import OAuth

/// What issuers publish: metadata, and keys that change.
struct IssuerMetadataTests {
    @Test(arguments: [
        (
            "https://a.test", "https://a.test/.well-known/openid-configuration",
            "https://a.test/.well-known/oauth-authorization-server"
        ),
        (
            "https://a.test/", "https://a.test/.well-known/openid-configuration",
            "https://a.test/.well-known/oauth-authorization-server"
        ),
        (
            "https://a.test:8443/t/1", "https://a.test:8443/t/1/.well-known/openid-configuration",
            "https://a.test:8443/.well-known/oauth-authorization-server/t/1"
        ),
    ])
    func whereTheMetadataAre(issuer: String, openID: String, rfc8414: String) {
        #expect(IssuerMetadata.urls(of: issuer) == [openID, rfc8414])
    }

    @Test func theyMustNameTheIssuerByteForByte() throws {
        func url(_ text: String) throws(IssuerMetadataError) -> String {
            try IssuerMetadata.keysURL(of: Array(text.utf8), issuer: "https://a.test/K")
        }
        #expect(try url(#"{"issuer":"https://a.test/K","jwks_uri":"https://k/"}"#) == "https://k/")
        #expect(try url(#"{"issuer":"https:\/\/a.test\/K","jwks_uri":"x"}"#) == "x")
        for other in ["https://a.test/K/", "https://A.test/K", "https://a.test/\u{212A}", ""] {
            #expect(throws: IssuerMetadataError.otherIssuer(other)) {
                try url(#"{"issuer":"\#(other)","jwks_uri":"https://k/"}"#)
            }
        }
        #expect(throws: IssuerMetadataError.otherIssuer("")) { try url(#"{"issuer":["x"]}"#) }
        #expect(throws: IssuerMetadataError.noKeys) {
            try url(#"{"issuer":"https://a.test/K","jwks_uri":7}"#)
        }
        for text in ["", "[]", "x", #"{"issuer":"a","issuer":"a"}"#] {
            #expect(throws: IssuerMetadataError.malformed) { try url(text) }
        }
    }

    @Test func aSetHoldsTheKeysOfAnother() throws {
        func key(_ name: String?, _ kind: PrivateKey) throws -> VerificationKey {
            try VerificationKey(
                keyID: name.map { Array($0.utf8) }, algorithm: nil,
                material: .publicKey(kind.publicKey))
        }
        let (first, second) = (try PrivateKey.generate(.p256), try PrivateKey.generate(.p256))
        let one = KeySet([try key("a", first)])
        let both = KeySet([try key("b", second), try key("a", first)])
        #expect(both.holdsAll(of: one))
        #expect(!one.holdsAll(of: both))
        #expect(one.holdsAll(of: .empty))
        #expect(!KeySet.empty.holdsAll(of: one))
        // Another key of the same name, and the same key under another name.
        for other in [try key("a", second), try key("c", first), try key(nil, first)] {
            #expect(!KeySet([other]).holdsAll(of: one))
        }
        let bound = try VerificationKey(
            keyID: Array("a".utf8), algorithm: .es256, material: .publicKey(first.publicKey))
        #expect(!KeySet([bound]).holdsAll(of: one))
    }

    @Test func remembersWhatAnIntrospectionServerSaysAndNoMore() throws {
        let terms = IntrospectionTerms(
            name: "t", issuer: nil, audiences: [], provenIssuers: ["https://own.test"])
        func read(_ text: String) throws(IntrospectionFault) -> IntrospectionAnswer {
            try IntrospectionAnswer(Array(text.utf8), terms: terms)
        }
        guard
            case .active(let token) = try read(
                #"{"active":true,"client_id":"c","exp":100,"nbf":50,"department":"sales"}"#)
        else {
            Issue.record("not active")
            return
        }
        #expect(token.issuerName == "t")
        #expect(token.issuer == "")
        #expect(token.audiences == [])
        #expect(token.claim("department") == .string("sales"))
        // A second for clocks that differ.
        try token.holds(at: WallTime(seconds: 100))
        #expect(throws: TokenError.expired) { try token.holds(at: WallTime(seconds: 101)) }
        try token.holds(at: WallTime(seconds: 49))
        #expect(throws: TokenError.notYetValid) { try token.holds(at: WallTime(seconds: 48)) }
        // Without an end it has none.
        guard case .active(let endless) = try read(#"{"active":true,"sub":"c"}"#) else {
            Issue.record("not active")
            return
        }
        try endless.holds(at: WallTime(seconds: 99_999_999_999))
        guard
            case .refused(.unknownIssuer) = try read(
                #"{"active":true,"sub":"c","iss":"https:\/\/own.test"}"#)
        else {
            Issue.record("somebody else spoke for our own issuer")
            return
        }
    }
}
