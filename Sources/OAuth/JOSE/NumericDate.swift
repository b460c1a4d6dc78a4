extension JSONDocument {
    /// A JSON number as whole seconds, rounded down (NumericDate of RFC 7519 section 2).
    ///
    /// Computed from the digits, exactly: no floating point, so that nothing wraps, and a value
    /// that two readers would round differently has one meaning here.
    ///
    /// - Returns: `nil` if it is no number, or none that fits 64 bits.
    func seconds(_ node: Int) -> Int64? {
        guard kind(node) == .number else { return nil }
        return plainSeconds(node) ?? DecimalNumber(bytes, valueRange(node)).floor()
    }

    /// Of a number that is as almost all are: digits alone, few enough that none can be too many.
    private func plainSeconds(_ node: Int) -> Int64? {
        let text = self.text(node)
        guard text.count <= 18 else { return nil }
        var value: Int64 = 0
        for index in text.indices {
            let digit = text[index] &- 0x30
            guard digit <= 9 else { return nil }
            value = value * 10 + Int64(digit)
        }
        return value
    }
}

/// A number in the grammar of RFC 8259 section 6, which the parser has checked.
private struct DecimalNumber {
    private let bytes: [UInt8]
    private let isNegative: Bool
    private let integer: Range<Int>
    private let fraction: Range<Int>
    /// Clamped: beyond it a number is zero or far out of range either way.
    private let exponent: Int

    private static let exponentLimit = 1 << 21

    init(_ bytes: [UInt8], _ range: Range<Int>) {
        self.bytes = bytes
        var position = range.lowerBound
        isNegative = bytes[position] == 0x2D
        if isNegative { position += 1 }
        integer = DecimalNumber.digits(bytes, &position, range.upperBound)
        if position < range.upperBound, bytes[position] == 0x2E {
            position += 1
            fraction = DecimalNumber.digits(bytes, &position, range.upperBound)
        } else {
            fraction = position..<position
        }
        var exponent = 0
        if position < range.upperBound {
            position += 1
            let isBelow = bytes[position] == 0x2D
            if isBelow || bytes[position] == 0x2B { position += 1 }
            for index in position..<range.upperBound {
                exponent = min(
                    exponent * 10 + Int(bytes[index] - 0x30), DecimalNumber.exponentLimit)
            }
            if isBelow { exponent = -exponent }
        }
        self.exponent = exponent
    }

    func floor() -> Int64? {
        let digitCount = integer.count + fraction.count
        // How many of the digits stand before the point once the exponent has moved it.
        let wholeCount = integer.count + exponent
        var value: Int64 = 0
        var isFractional = false
        for index in 0..<digitCount {
            let digit = Int64(self.digit(index))
            if index >= wholeCount {
                if digit != 0 { isFractional = true }
            } else {
                guard let next = DecimalNumber.shifted(value, adding: digit) else { return nil }
                value = next
            }
        }
        if value != 0, wholeCount > digitCount {
            for _ in digitCount..<wholeCount {
                guard let next = DecimalNumber.shifted(value, adding: 0) else { return nil }
                value = next
            }
        }
        // The magnitude fits, and so does its negation; one less than -Int64.max does too.
        return isNegative ? (isFractional ? -value - 1 : -value) : value
    }

    private func digit(_ index: Int) -> UInt8 {
        index < integer.count
            ? bytes[integer.lowerBound + index] - 0x30
            : bytes[fraction.lowerBound + index - integer.count] - 0x30
    }

    private static func shifted(_ value: Int64, adding digit: Int64) -> Int64? {
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, carry) = product.addingReportingOverflow(digit)
        return overflow || carry ? nil : sum
    }

    private static func digits(_ bytes: [UInt8], _ position: inout Int, _ end: Int) -> Range<Int> {
        let start = position
        while position < end, bytes[position] >= 0x30, bytes[position] <= 0x39 { position += 1 }
        return start..<position
    }
}
