import OAuth
import Primitives
import TestSupport

/// A client that proves itself by `private_key_jwt` (RFC 7523 section 2.2), known to the gateway as `signer`.
struct AssertionSigner {
    private let signing: SigningKey
    private let folder: TemporaryDirectory
    private let keys: String

    init() throws {
        signing = try SigningKey(keyID: "k", algorithm: .es256, privateKey: .generate(.p256))
        folder = try TemporaryDirectory()
        keys = try folder.write(
            "keys", String(decoding: JWKSDocument.write([signing.published]), as: UTF8.self))
    }

    /// Its block of the conf.
    ///
    /// - Parameter more: directives of the test's own.
    func block(_ more: String) -> String {
        """
        client signer {
            auth_method private_key_jwt; jwks_file \(keys); scopes read;
            \(more)
        }
        """
    }

    /// A token request with a new assertion.
    func form(to audience: String, id: String) throws -> String {
        let now = WallTime.now().seconds
        let claims =
            #"{"iss":"signer","sub":"signer","aud":"\#(audience)","jti":"\#(id)","iat":\#(now),"exp":\#(now + 60)}"#
        let assertion = try JWTSigner.sign(claims: Array(claims.utf8), with: signing, type: "jwt")
        return "grant_type=client_credentials&client_assertion="
            + String(decoding: assertion, as: UTF8.self) + "&client_assertion_type="
            + "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    }
}
