import Cryptography
import Primitives

/// Keys that nobody signs with, so that an unknown client's or consumer's signature costs a
/// verification too.
enum DecoyKey {
    static let rsa: PublicKey? = {
        let modulus =
            "oLAIVO0ax4aJTTNZOcnI9lS4ZUYtPWn29XzpEScswDkdqvgGIi1Wl8Rbxezvu4Tuzy4tjx8RVjUw0ccJbix5Cc"
            + "WR0pPhqE3pBwJlcFX98I_exmC9zklQ0vCErz6N1Lu3yNXo2vLoOrHfweRyLgvu3NiucDT89ASM8WaNinlDDPcf"
            + "RQ3zoaYYAftCso7siNDv0EEmQmcidN5iopGfCLiijtC7dZyOdCeId6HZ_NOAyRTdihvK7yjK87QVSmsi_GO7Pz"
            + "KGbt5VvR5ZsVwqMiiSQYbKLJOtEZ5xDCP8gSuSaXkJdxN3vocSgoKe-ufHrVwFmH6LSUdFkEO5Fd_9O658EQ"
        guard let bytes = Base64.decode(modulus, .url) else { return nil }
        return try? PublicKey(rsaModulus: bytes, exponent: [1, 0, 1])
    }()

    private static let keys: [JWSAlgorithm: VerificationKey] = {
        var keys: [JWSAlgorithm: VerificationKey] = [:]
        let p256 = try? PrivateKey.generate(.p256).publicKey
        let ed25519 = try? PrivateKey.generate(.ed25519).publicKey
        for (algorithm, key) in [
            (JWSAlgorithm.rs256, rsa), (.ps256, rsa), (.es256, p256), (.edDSA, ed25519),
        ] {
            guard let key else { continue }
            keys[algorithm] = try? VerificationKey(
                keyID: nil, algorithm: algorithm, material: .publicKey(key))
        }
        return keys
    }()

    /// One for each algorithm that assertions may have.
    static func key(for algorithm: JWSAlgorithm) -> VerificationKey? { keys[algorithm] }
}
