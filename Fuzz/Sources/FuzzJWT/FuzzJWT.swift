import Cryptography
import Foundation
import Gateway
import OAuth
import Primitives

/// 2026-01-01T00:00:00Z, the time of the vectors.
private let now = WallTime(seconds: 1_767_225_600)
private let secret = [UInt8](repeating: 7, count: 64)

/// One issuer with an HMAC key, so that the harness can sign what the fuzzer makes up, and with a
/// public key.
private let issuer: TrustedIssuer = {
    let mac = #"{"kty":"oct","kid":"m","k":"\#(Base64.encode(secret, .url))"}"#
    guard let keys = try? KeySet(jwks: Array(#"{"keys":[\#(mac)]}"#.utf8), allowsSymmetric: true)
    else { preconditionFailure("the fixed key is not read") }
    return TrustedIssuer(
        name: "fuzz", issuer: "https://issuer.example.com", audiences: ["https://api.example.com"],
        algorithms: Set(JWSAlgorithm.allCases), keys: keys)
}()

nonisolated(unsafe) private let verifier = TokenVerifier(issuers: [issuer])

/// The first byte says what the rest is: a token as it arrives, claims or a header to be signed
/// first, or a key set. Nothing crashes; what is accepted has one spelling and holds only what may
/// be passed on.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJWT(_ data: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: count))
    guard let mode = input.first else { return 0 }
    let rest = Array(input.dropFirst())
    switch mode & 3 {
    case 0:
        check(rest)
        checkProof(rest)
    case 1: check(signed(header: Array(#"{"alg":"HS256","kid":"m"}"#.utf8), claims: rest))
    case 2: check(signed(header: rest, claims: claims))
    default: checkKeySet(rest)
    }
    return 0
}

private let claims = Array(
    #"{"iss":"https://issuer.example.com","aud":"https://api.example.com","exp":1767225700,"sub":"s"}"#
        .utf8)

private func signed(header: [UInt8], claims: [UInt8]) -> [UInt8] {
    let text = Base64.encode(header, .url) + "." + Base64.encode(claims, .url)
    let input = Array(text.utf8)
    guard let code = try? MAC.authenticate(input.span, algorithm: .sha256, key: secret) else {
        preconditionFailure("no HMAC")
    }
    return input + [0x2E] + Array(Base64.encode(code, .url).utf8)
}

private func check(_ token: [UInt8]) {
    let explanation = verifier.explain(token.span, now: now)
    guard let accepted = try? verifier.verify(token.span, now: now) else {
        precondition((try? explanation.verdict.get()) == nil, "explained otherwise than decided")
        return
    }
    precondition((try? explanation.verdict.get()) != nil, "explained otherwise than decided")
    // One spelling: the parts, decoded and encoded again, are the token.
    let parts = token.split(separator: 0x2E, omittingEmptySubsequences: false)
    let again = parts.map { part -> String in
        guard let bytes = Base64.decode(String(decoding: part, as: UTF8.self), .url) else {
            preconditionFailure("accepted, but not base64url")
        }
        return Base64.encode(bytes, .url)
    }
    precondition(
        Array(again.joined(separator: ".").utf8) == token, "a second spelling was accepted")
    precondition(again.count == 3 && accepted.claimsText == Base64.decode(again[1], .url))
    checkFields(of: accepted)
    precondition((try? accepted.holds(at: now)) != nil)
}

/// What becomes a header value never breaks out of it.
private func checkFields(of token: VerifiedToken) {
    let fields = Principal.bearer(token).identityFields
    precondition(fields.suffix(2) == [0x0D, 0x0A])
    let lines = String(decoding: fields.dropLast(2), as: UTF8.self).components(separatedBy: "\r\n")
    var names = ["Scheme", "Client", "Subject", "Scopes", "Issuer"]
    if token.subject == nil { names.removeAll { $0 == "Subject" } }
    if token.scopes.isEmpty { names.removeAll { $0 == "Scopes" } }
    precondition(lines.count == names.count)
    for (line, name) in zip(lines, names) {
        precondition(line.hasPrefix("X-Auth-\(name): "))
        let value = line.dropFirst("X-Auth-\(name): ".count)
        precondition(!value.isEmpty && value.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
        precondition(value.first != " " && value.last != " ")
    }
}

/// No proof of what the fuzzer makes up holds, but it is read to the end: a key that it shows, a target, a nonce.
private func checkProof(_ text: [UInt8]) {
    let method = Array("GET".utf8)
    guard let target = DPoPTarget(isTLS: true, authority: Array("h".utf8), path: [0x2F]),
        let proof = try? DPoPProof.verify(
            text.span, method: method.span, targets: [target], accessToken: nil, now: now)
    else { return }
    precondition(text.count <= DPoPProof.limitBytes && proof.keyThumbprint.count == 32)
    precondition(1...DPoPProof.tokenIDLimitBytes ~= proof.tokenID.utf8.count)
}

private func checkKeySet(_ text: [UInt8]) {
    guard let keys = try? KeySet(jwks: text, allowsSymmetric: false) else { return }
    for key in keys.keys {
        guard case .publicKey(let publicKey) = key.material else {
            preconditionFailure("a shared secret was read from a public set")
        }
        precondition(publicKey.thumbprint.utf8.count == 43)
        precondition(JWSAlgorithm.allCases.contains(where: key.isFit), "a key fit for nothing")
    }
}
