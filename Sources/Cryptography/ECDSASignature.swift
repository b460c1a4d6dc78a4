/// The two spellings of an ECDSA signature: r ‖ s of fixed length, as JWS has it (RFC 7518 section
/// 3.4), and the DER that OpenSSL reads and writes (RFC 3279 section 2.2.3).
enum ECDSASignature {
    /// Makes `output` hold the DER of `raw`.
    ///
    /// - Returns: false unless `raw` has exactly the curve's length and 0 < r, s < n. OpenSSL
    ///   checks the range too; it is checked here as well since its absence elsewhere once made
    ///   all-zero signatures valid (CVE-2022-21449).
    static func writeDER(
        of raw: Span<UInt8>, curve: EllipticCurve, into output: inout [UInt8]
    ) -> Bool {
        let size = curve.coordinateByteCount
        guard raw.count == 2 * size else { return false }
        let order = curve.order
        guard isInRange(raw, from: 0, order: order), isInRange(raw, from: size, order: order) else {
            return false
        }
        let body = integerByteCount(raw, from: 0, size) + integerByteCount(raw, from: size, size)
        output.removeAll(keepingCapacity: true)
        output.append(0x30)
        // P-521 has up to 139 bytes, which takes the long form of the length.
        if body > 127 { output.append(0x81) }
        output.append(UInt8(body))
        appendInteger(raw, from: 0, size, to: &output)
        appendInteger(raw, from: size, size, to: &output)
        return true
    }

    /// The r ‖ s of a DER signature that OpenSSL made; `nil` if it is none of that curve.
    static func raw(ofDER der: [UInt8], curve: EllipticCurve) -> [UInt8]? {
        let size = curve.coordinateByteCount
        var raw: [UInt8] = []
        var index = 1
        guard der.count > 2, der[0] == 0x30 else { return nil }
        index += der[1] == 0x81 ? 2 : 1
        for _ in 0..<2 {
            guard index + 2 <= der.count, der[index] == 0x02 else { return nil }
            let end = index + 2 + Int(der[index + 1])
            guard end <= der.count else { return nil }
            let digits = der[(index + 2)..<end].drop { $0 == 0 }
            guard digits.count <= size else { return nil }
            raw.append(contentsOf: repeatElement(0, count: size - digits.count))
            raw.append(contentsOf: digits)
            index = end
        }
        return index == der.count ? raw : nil
    }

    private static func isInRange(_ raw: Span<UInt8>, from start: Int, order: [UInt8]) -> Bool {
        var isZero = true
        var isBelow = false
        for index in order.indices {
            let byte = raw[start + index]
            if byte != 0 { isZero = false }
            if !isBelow {
                if byte > order[index] { return false }
                if byte < order[index] { isBelow = true }
            }
        }
        return isBelow && !isZero
    }

    /// How many leading zeros a DER integer of these bytes leaves out.
    private static func leadingZeros(_ raw: Span<UInt8>, from start: Int, _ size: Int) -> Int {
        var zeros = 0
        while zeros < size - 1, raw[start + zeros] == 0 { zeros += 1 }
        return zeros
    }

    private static func integerByteCount(_ raw: Span<UInt8>, from start: Int, _ size: Int) -> Int {
        let zeros = leadingZeros(raw, from: start, size)
        // One more where the first bit is set: DER integers are signed.
        return 2 + size - zeros + (raw[start + zeros] >= 0x80 ? 1 : 0)
    }

    private static func appendInteger(
        _ raw: Span<UInt8>, from start: Int, _ size: Int, to output: inout [UInt8]
    ) {
        let zeros = leadingZeros(raw, from: start, size)
        output.append(0x02)
        output.append(UInt8(integerByteCount(raw, from: start, size) - 2))
        if raw[start + zeros] >= 0x80 { output.append(0) }
        for index in (start + zeros)..<(start + size) { output.append(raw[index]) }
    }
}
