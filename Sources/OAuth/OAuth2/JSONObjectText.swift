import Primitives

/// Writes one flat JSON object, member by member, in the order in which they come.
struct JSONObjectText {
    private var json: [UInt8] = [0x7B]
    private var isEmpty = true

    mutating func add(_ name: String, _ value: String?) {
        guard let value else { return }
        begin(name)
        JSONText.appendString(value, to: &json)
    }

    /// Left out without elements: RFC 8414 section 3.2 and RFC 9728 section 2 forbid empty arrays.
    mutating func add(_ name: String, _ items: [String]) {
        guard !items.isEmpty else { return }
        begin(name)
        JSONText.appendStrings(items, to: &json)
    }

    mutating func add(_ name: String, _ seconds: Int64?) {
        guard let seconds else { return }
        begin(name)
        JSONText.appendInteger(Int(seconds), to: &json)
    }

    /// Left out where it is false, which is what its absence says.
    mutating func addTrue(_ name: String, _ isTrue: Bool) {
        guard isTrue else { return }
        begin(name)
        json.append(contentsOf: "true".utf8)
    }

    mutating func addConfirmation(certificate: [UInt8]?, key: [UInt8]?) {
        JSONText.appendConfirmation(certificate: certificate, key: key, to: &json)
    }

    private mutating func begin(_ name: String) {
        if !isEmpty { json.append(0x2C) }
        isEmpty = false
        JSONText.appendString(name, to: &json)
        json.append(0x3A)
    }

    /// The text, with a line end.
    var text: [UInt8] { json + [0x7D, 0x0A] }
}
