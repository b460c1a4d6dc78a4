import Cryptography
import OAuth
import Primitives
import Testing

@testable import Gateway

/// Principals for the tables of this target: tokens are signed here and proven as in the gateway.
enum Principals {
    static let now = WallTime(seconds: 1_767_225_600)
    static let issuer = "https://issuer.example.com"
    /// In every token, since one without an audience of the issuer is not accepted.
    static let ownAudience = "https://gateway.example.com"
    private static let key = Result {
        try SigningKey(algorithm: .es256, privateKey: PrivateKey.generate(.p256))
    }

    static func oauth1(
        _ client: String = "partner", scopes: [String] = [], audiences: [String] = []
    ) -> Principal {
        Principal.oauth1(clientID: client, scopes: scopes, audiences: audiences)
    }

    static func bearer(
        _ client: String = "client-1", subject: String? = "subject-1", scopes: [String] = [],
        audiences: [String] = [], claims: String = "", isOurs: Bool = true
    ) throws -> Principal {
        .bearer(
            try token(
                client, subject: subject, scopes: scopes, audiences: audiences, claims: claims,
                isOurs: isOurs))
    }

    /// - Parameters:
    ///   - claims: further members as JSON, with the comma in front.
    ///   - isOurs: it is of our own authority, not of an issuer `test`.
    static func token(
        _ client: String = "client-1", subject: String? = "subject-1", scopes: [String] = [],
        audiences: [String] = [], claims: String = "", isOurs: Bool = true
    ) throws -> VerifiedToken {
        func list(_ texts: [String]) -> String {
            var json: [UInt8] = []
            for text in texts {
                if !json.isEmpty { json.append(0x2C) }
                JSONText.appendString(text, to: &json)
            }
            return String(decoding: json, as: UTF8.self)
        }
        let members = """
            {"iss":\(list([issuer])),"exp":\(now.seconds + 300),"client_id":\(list([client])),\
            \(subject.map { "\"sub\":\(list([$0]))," } ?? "")\
            "aud":[\(list(audiences + [ownAudience]))],"scp":[\(list(scopes))]\(claims)}
            """
        let key = try key.get()
        let text = try JWTSigner.sign(claims: Array(members.utf8), with: key)
        let verifier = TokenVerifier(issuers: [
            TrustedIssuer(
                name: "test", issuer: issuer, audiences: [ownAudience], algorithms: [.es256],
                keys: try KeySet([
                    VerificationKey(
                        keyID: Array(key.keyID.utf8), algorithm: .es256,
                        material: .publicKey(key.privateKey.publicKey))
                ]), isOwnAuthority: isOurs)
        ])
        return try verifier.verify(text.span, now: now)
    }
}
