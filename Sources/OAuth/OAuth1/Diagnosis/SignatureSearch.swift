import Cryptography
import Primitives

/// Makes the signatures that clients with known mistakes would make, and compares them with the one
/// that was received: every variation alone first, then two of different kinds together.
struct SignatureSearch {
    /// One part of a signature: the right one first, then the variations.
    private struct Choices<Value> {
        var mistakes: [OAuth1Mistake?] = [nil]
        var values: [Value]

        init(right: Value) { values = [right] }

        mutating func add(_ mistake: OAuth1Mistake, _ value: Value) {
            mistakes.append(mistake)
            values.append(value)
        }
    }

    private struct Parameters {
        let normalized: [UInt8]
        let outerStyle: EncodingStyle
        let encodesAgain: Bool

        init(_ recipe: ParameterRecipe) {
            normalized = recipe.normalized
            outerStyle = recipe.outerStyle
            encodesAgain = recipe.encodesAgain
        }
    }

    /// Two mistakes are looked for together only in requests of a sane size.
    private static let pairLimitBytes = 64 << 10

    private let signatureMethod: OAuth1SignatureMethod
    private let credentials: OAuth1Credentials
    private let presented: Choices<[UInt8]>
    private var methods: Choices<[UInt8]>
    private var uris: Choices<[UInt8]>
    private var parameters: Choices<Parameters>
    private var keys: Choices<[UInt8]>
    private var hashes: Choices<OAuth1SignatureMethod>

    /// - Parameters:
    ///   - presented: `oauth_signature`, decoded.
    ///   - origins: other addresses that clients may know this gateway by.
    init(
        _ input: SignatureInput, method: OAuth1SignatureMethod, presented: [UInt8],
        credentials: OAuth1Credentials, origins: [PublicOrigin]
    ) {
        signatureMethod = method
        self.credentials = credentials
        self.presented = SignatureSearch.readings(presented, method)
        methods = SignatureSearch.methods(input)
        uris = Choices(right: URIRecipe(input).uri)
        for variation in URIVariation.all(input, origins: origins) {
            uris.add(variation.mistake, variation.uri)
        }
        parameters = SignatureSearch.parameters(input)
        var key: [UInt8] = []
        OAuth1Signature.appendKey(
            consumerSecret: credentials.consumerSecret?.exposed ?? [],
            tokenSecret: credentials.tokenSecret?.exposed ?? [], to: &key)
        keys = Choices(right: key)
        hashes = Choices(right: method)
        guard method.rsaAlgorithm == nil else {
            for other in [OAuth1SignatureMethod.rsaSHA1, .rsaSHA256, .rsaSHA512]
            where other != method { hashes.add(.otherHash, other) }
            return
        }
        for variation in KeyVariation.all(credentials) where variation.key != key {
            keys.add(variation.mistake, variation.key)
        }
        if method != .plaintext {
            for other in [OAuth1SignatureMethod.hmacSHA1, .hmacSHA256, .hmacSHA512]
            where other != method { hashes.add(.otherHash, other) }
        }
    }

    /// The signature as clients spell it.
    private static func readings(
        _ text: [UInt8], _ method: OAuth1SignatureMethod
    ) -> Choices<[UInt8]> {
        guard method != .plaintext else { return Choices(right: text) }
        var decoded: [UInt8] = []
        let isRight = Base64.decode(text.span, .standard, into: &decoded)
        var choices = Choices(right: isRight ? decoded : [])
        let spelling = String(decoding: text, as: UTF8.self)
        let withPlus = String(spelling.map { $0 == " " ? "+" : $0 })
        if withPlus != spelling, let bytes = Base64.decode(withPlus, .standard) {
            choices.add(.signatureNotEncoded, bytes)
        }
        let unpadded = spelling.prefix { $0 != "=" }
        let isURLSafe = String(unpadded.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
        if !isRight, let bytes = Base64.decode(isURLSafe, .url) {
            choices.add(.signatureOtherBase64, bytes)
        }
        if let bytes = hexadecimal(text) { choices.add(.signatureHexadecimal, bytes) }
        return choices
    }

    private static func hexadecimal(_ text: [UInt8]) -> [UInt8]? {
        guard text.count.isMultiple(of: 2), !text.isEmpty else { return nil }
        var escapes: [UInt8] = []
        for index in stride(from: 0, to: text.count, by: 2) {
            escapes += [0x25, text[index], text[index + 1]]
        }
        return SignatureInput.decoded(escapes, .isPlus)
    }

    private static func methods(_ input: SignatureInput) -> Choices<[UInt8]> {
        let upper = input.method.map { $0 &- 0x61 < 26 ? $0 & 0xDF : $0 }
        let style = EncodingStyle()
        var choices = Choices(right: style.encoded(upper))
        let lower = upper.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }
        choices.add(.methodLower, style.encoded(lower))
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        where Array(other.utf8) != upper { choices.add(.otherMethod, Array(other.utf8)) }
        return choices
    }

    private static func parameters(_ input: SignatureInput) -> Choices<Parameters> {
        let recipe = ParameterRecipe(input)
        var choices = Choices(right: Parameters(recipe))
        for variation in ParameterVariation.all {
            var changed = recipe
            variation.apply(&changed, input)
            choices.add(variation.mistake, Parameters(changed))
        }
        return choices
    }

    // MARK: Searching

    /// The base string as the gateway reads the request.
    var baseString: [UInt8] { baseString([0, 0, 0, 0, 0]) }

    /// - Returns: the mistakes that explain the signature, none when it is right, `nil` when
    ///   nothing known explains it.
    func mistakes() -> [OAuth1Mistake]? {
        let counts = [
            methods.values.count, uris.values.count, parameters.values.count, keys.values.count,
            hashes.values.count,
        ]
        var choice = [0, 0, 0, 0, 0]
        if let found = match(choice) { return found }
        // PLAINTEXT has no base string: its key is all there is.
        let kinds = signatureMethod == .plaintext ? 3..<4 : 0..<5
        for kind in kinds {
            for index in 1..<max(1, counts[kind]) {
                choice[kind] = index
                if let found = match(choice) { return found }
            }
            choice[kind] = 0
        }
        guard parameters.values[0].normalized.count <= SignatureSearch.pairLimitBytes else {
            return nil
        }
        for first in kinds {
            for second in kinds where second > first {
                for index in 1..<max(1, counts[first]) {
                    for other in 1..<max(1, counts[second]) {
                        choice[first] = index
                        choice[second] = other
                        if let found = match(choice) { return found }
                    }
                }
                choice[second] = 0
            }
            choice[first] = 0
        }
        return nil
    }

    private func baseString(_ choice: [Int]) -> [UInt8] {
        let chosen = parameters.values[choice[2]]
        var base = methods.values[choice[0]] + [0x26]
        base += chosen.outerStyle.encoded(uris.values[choice[1]]) + [0x26]
        base +=
            chosen.encodesAgain ? chosen.outerStyle.encoded(chosen.normalized) : chosen.normalized
        return base
    }

    private func match(_ choice: [Int]) -> [OAuth1Mistake]? {
        let made = [
            methods.mistakes[choice[0]], uris.mistakes[choice[1]], parameters.mistakes[choice[2]],
            keys.mistakes[choice[3]], hashes.mistakes[choice[4]],
        ]
        let isMatch = check(choice)
        for (mistake, signature) in zip(presented.mistakes, presented.values)
        where isMatch(signature) {
            return (made + [mistake]).compactMap { $0 }
        }
        return nil
    }

    private func check(_ choice: [Int]) -> ([UInt8]) -> Bool {
        let key = keys.values[choice[3]]
        let method = hashes.values[choice[4]]
        if method == .plaintext { return { ConstantTime.equal($0, key) } }
        let base = baseString(choice)
        if let digest = method.hmacDigest {
            // Without a consumer secret no HMAC is anybody's.
            guard credentials.consumerSecret != nil,
                let mac = try? MAC(algorithm: digest, key: key)
            else { return { _ in false } }
            var code: [UInt8] = []
            mac.authenticate(base.span, into: &code)
            let computed = code
            return { ConstantTime.equal($0, computed) }
        }
        guard let rsaKey = credentials.rsaKey, let algorithm = method.rsaAlgorithm,
            let verifier = try? SignatureVerifier(key: rsaKey, algorithm: algorithm)
        else { return { _ in false } }
        return { verifier.isValid(signature: $0.span, message: base.span) }
    }
}
