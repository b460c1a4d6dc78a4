import COpenSSL

/// Owns the OSSL_PARAM list that describes a public key, and frees it once.
///
/// The builder copies the values only when the list is made, and the names never: values are kept
/// alive until then, names are literals.
@safe struct KeyParameters: ~Copyable {
    let raw: UnsafeMutablePointer<OSSL_PARAM>

    init?(rsaModulus modulus: BigNumber, exponent: BigNumber) {
        let list = unsafe KeyParameters.build { builder in
            unsafe KeyParameters.push("n", modulus, builder)
                && KeyParameters.push("e", exponent, builder)
        }
        withExtendedLifetime((modulus, exponent)) {}
        guard let list = unsafe list else { return nil }
        unsafe raw = unsafe list
    }

    init?(group: StaticString, point: [UInt8]) {
        let list = unsafe point.withUnsafeBufferPointer { point in
            unsafe KeyParameters.build { builder in
                let isGroupSet = unsafe ("group" as StaticString).withCString { name in
                    unsafe group.withCString { group in
                        unsafe OSSL_PARAM_BLD_push_utf8_string(builder, name, group, 0) == 1
                    }
                }
                let isPointSet = unsafe ("pub" as StaticString).withCString { name in
                    unsafe OSSL_PARAM_BLD_push_octet_string(
                        builder, name, point.baseAddress, point.count) == 1
                }
                return isGroupSet && isPointSet
            }
        }
        guard let list = unsafe list else { return nil }
        unsafe raw = unsafe list
    }

    deinit {
        unsafe OSSL_PARAM_free(raw)
    }

    private static func build(
        _ push: (OpaquePointer) -> Bool
    ) -> UnsafeMutablePointer<OSSL_PARAM>? {
        guard let builder = unsafe OSSL_PARAM_BLD_new() else { return nil }
        defer { unsafe OSSL_PARAM_BLD_free(builder) }
        return unsafe push(builder) ? OSSL_PARAM_BLD_to_param(builder) : nil
    }

    private static func push(
        _ name: StaticString, _ number: BigNumber, _ builder: OpaquePointer
    ) -> Bool {
        unsafe name.withCString { unsafe OSSL_PARAM_BLD_push_BN(builder, $0, number.raw) == 1 }
    }
}

/// Owns a BIGNUM and frees it once.
@safe final class BigNumber {
    fileprivate let raw: OpaquePointer

    /// - Parameter bytes: big-endian.
    init?(_ bytes: [UInt8]) {
        guard let raw = unsafe BN_bin2bn(bytes, Int32(bytes.count), nil) else { return nil }
        unsafe self.raw = unsafe raw
    }

    deinit {
        unsafe BN_free(raw)
    }
}
