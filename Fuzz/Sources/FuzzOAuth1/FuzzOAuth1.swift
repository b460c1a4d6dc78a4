import HTTP
import OAuth
import Primitives

/// New in every run, so that no input can hold it.
private let credentials = OAuth1Credentials(
    consumerSecret: Secret((0..<16).map { _ in UInt8.random(in: 0...255) }),
    allowsPlaintext: true)

private func makeVerifier(_ publicURLs: [String]) -> OAuth1Verifier {
    let policy = OAuth1Policy(
        signatureMethods: Set(OAuth1SignatureMethod.allCases), timestampWindowSeconds: .max,
        bodyHashRequired: false, heldBodyBytes: 1 << 20, publicURLs: publicURLs)
    guard let verifier = try? OAuth1Verifier(policy: policy) else {
        preconditionFailure("no random bytes")
    }
    return verifier
}

private nonisolated(unsafe) let verifiers = [
    makeVerifier([]), makeVerifier(["https://api.example.com/shop", "http://other.example"]),
]

/// No request crashes the reader; what it collects is bounded by what came; nobody passes without the secret; and the two
/// ways to a base string, the check's and the diagnosis's, agree.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOAuth1(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    let head = RequestHead()
    var parser = RequestHeadParser(limits: HTTP1Limits())
    guard case .complete(let end)? = try? parser.parse(bytes.span, from: 0, into: head) else {
        return 0
    }
    let body = Array(bytes[end...])
    for verifier in verifiers { check(head, body, verifier) }
    return 0
}

private func check(_ head: RequestHead, _ body: [UInt8], _ verifier: OAuth1Verifier) {
    _ = verifier.detects(head)
    do throws(OAuth1Error) {
        let claim = try verifier.prepare(head, body: body.span)
        let parameters = verifier.parameters
        precondition(!claim.needsBody, "asks for a body that it has")
        precondition(parameters.items.count <= OAuth1Parameters.limit)
        precondition(parameters.decoded.count <= head.bytes.count + body.count)
        var baseString = BaseString()
        baseString.normalize(parameters, order: .encoded)
        precondition(
            baseString.normalized.count <= 3 * parameters.decoded.count + 2 * parameters.items.count
        )
        let diagnosis = try OAuth1Diagnosis(
            head, body: body.span, isTLS: true, verifier: verifier, credentials: credentials)
        precondition(
            diagnosis.normalizedParameters.utf8.elementsEqual(baseString.normalized),
            "check and diagnosis differ")
        precondition(
            diagnosis.outcome == .unexplained, "explained by a secret that nobody has")
        for isTLS in [true, false] { refuse(claim, head, body, verifier, isTLS) }
    } catch {
        precondition(error.status == 400, "judged before it was read")
    }
}

private func refuse(
    _ claim: OAuth1Claim, _ head: RequestHead, _ body: [UInt8], _ verifier: OAuth1Verifier,
    _ isTLS: Bool
) {
    for known in [credentials, nil] {
        do throws(OAuth1Error) {
            _ = try verifier.verify(
                claim, head, from: RequestOrigin(isTLS: isTLS), body: body.span, credentials: known,
                now: WallTime(seconds: 1_767_225_600))
        } catch {
            precondition(error.status == 401)
            continue
        }
        preconditionFailure("passed without the secret")
    }
}
