import HTTP
import Primitives

/// Writes field lines as they stand in the head that they came in, neighbours with one copy.
///
/// Only a line of the plain form `Name: value` with its line end is copied whole; every other (HTTP/2 has no lines, and
/// HTTP/1.1 allows any white space around a value) is put together anew, so that what leaves has one form.
struct FieldLines: ~Escapable {
    private let bytes: Span<UInt8>
    /// Of `bytes`: what is still to be copied.
    private var pending = 0..<0

    @_lifetime(copy bytes)
    init(of bytes: Span<UInt8>) {
        self.bytes = bytes
    }

    mutating func append(_ line: FieldLine, to output: inout [UInt8]) {
        let (name, value) = (line.name.range, line.value.range)
        guard isPlain(name, value) else {
            flush(to: &output)
            output.append(bytes, name)
            output.append(": ")
            output.append(bytes, value)
            output.append("\r\n")
            return
        }
        let end = value.upperBound + 2
        if pending.upperBound == name.lowerBound {
            pending = pending.lowerBound..<end
        } else {
            flush(to: &output)
            pending = name.lowerBound..<end
        }
    }

    /// Copies what was put off; to be called after the last line.
    mutating func flush(to output: inout [UInt8]) {
        guard !pending.isEmpty else { return }
        output.append(bytes, pending)
        pending = 0..<0
    }

    private func isPlain(_ name: Range<Int>, _ value: Range<Int>) -> Bool {
        value.lowerBound == name.upperBound + 2 && value.upperBound + 2 <= bytes.count
            && bytes[name.upperBound] == 0x3A && bytes[name.upperBound + 1] == 0x20
            && bytes[value.upperBound] == 0x0D && bytes[value.upperBound + 1] == 0x0A
    }
}
