import Primitives

/// Why a text is not the JSON that is wanted here.
public enum JSONError: Error, Equatable, Sendable {
    /// Not JSON by RFC 8259, not UTF-8, or with a lone surrogate.
    case syntax(offset: Int)
    /// An object names a member twice (RFC 7515 section 4, RFC 7519 section 4: refuse).
    case duplicateName(offset: Int)
    /// Deeper, longer or with more members than the limits allow.
    case limit
}

/// A JSON text (RFC 8259) that was read strictly in one pass, as a flat list of nodes over its
/// bytes.
///
/// No String, no Dictionary: a verifier keeps one document and reads every token into it, in memory
/// that is reused. Member names are compared after their escapes were resolved, at every depth.
public struct JSONDocument: Sendable {
    public enum Kind: UInt8, Sendable {
        case object, array, string, number, `true`, `false`, null
    }

    /// What a text may hold at most.
    public struct Limits: Sendable {
        public var depth: Int
        public var nodes: Int
        /// Members of one object: each new name is compared with those before it.
        public var members: Int

        public init(depth: Int = 32, nodes: Int = 1024, members: Int = 128) {
            self.depth = depth
            self.nodes = nodes
            self.members = members
        }
    }

    /// One value. Its children, if it has any, follow it directly in the list.
    struct Node: Sendable {
        var kind: Kind
        /// Of the name's bytes before this value; empty and at 0 for an element of an array and for
        /// the root.
        var name: Range<Int32>
        /// A quick test before names are compared byte by byte.
        var nameHash: UInt32
        /// A string without its quotes and escapes, a number as written; for objects and arrays, as
        /// written.
        var value: Range<Int32>
        /// The index behind the last node inside this one.
        var end: Int32
    }

    /// The text; behind it, the strings whose escapes were resolved.
    var bytes: [UInt8] = []
    var nodes: [Node] = []
    /// How much of `bytes` is the text itself.
    var textCount = 0

    public init() {}

    /// The memory this holds, in bytes.
    var footprint: Int { bytes.capacity + nodes.capacity * MemoryLayout<Node>.stride + 64 }

    /// The text as it was read.
    var text: ArraySlice<UInt8> { bytes[..<textCount] }

    /// A copy that holds no more memory than it needs.
    func compacted() -> JSONDocument {
        var copy = JSONDocument()
        // Array(slice) would share the reader's buffer, as large as it ever grew, and make it
        // allocate another.
        copy.bytes.reserveCapacity(bytes.count)
        copy.bytes.append(contentsOf: bytes)
        copy.nodes.reserveCapacity(nodes.count)
        copy.nodes.append(contentsOf: nodes)
        copy.textCount = textCount
        return copy
    }

    // MARK: Reading

    func kind(_ node: Int) -> Kind { nodes[node].kind }

    /// Whether the whole text is an object.
    var isObject: Bool { nodes.first?.kind == .object }

    /// The member of that name, of the object at `object`.
    ///
    /// - Returns: the index of its value.
    func member(_ name: StaticString, of object: Int = 0) -> Int? {
        name.withUTF8Buffer { unsafe member($0.span, of: object) }
    }

    func member(_ name: String, of object: Int = 0) -> Int? {
        // Once: of a short text each look at its bytes makes a copy of them.
        member(name.utf8Span.span, of: object)
    }

    private func member(_ name: Span<UInt8>, of object: Int) -> Int? {
        guard nodes[object].kind == .object else { return nil }
        var child = object + 1
        let end = Int(nodes[object].end)
        while child < end {
            if self.name(child).equals(name) { return child }
            child = Int(nodes[child].end)
        }
        return nil
    }

    /// The name of a member's value; empty for an element of an array and for the root.
    @_lifetime(borrow self)
    func name(_ node: Int) -> Span<UInt8> { bytes.span.extracting(range(nodes[node].name)) }

    /// Calls `body` for each element of an array or value of an object, in order, until it returns
    /// false.
    ///
    /// - Returns: false if `body` did.
    func forEachChild(of parent: Int, _ body: (Int) -> Bool) -> Bool {
        var child = parent + 1
        let end = Int(nodes[parent].end)
        while child < end {
            guard body(child) else { return false }
            child = Int(nodes[child].end)
        }
        return true
    }

    func childCount(of parent: Int) -> Int {
        var count = 0
        _ = forEachChild(of: parent) { _ in
            count += 1
            return true
        }
        return count
    }

    /// The bytes of a string's text, or of a number as written.
    func valueRange(_ node: Int) -> Range<Int> { range(nodes[node].value) }

    /// The bytes of a string's text, or of a number as written.
    @_lifetime(borrow self)
    func text(_ node: Int) -> Span<UInt8> { bytes.span.extracting(valueRange(node)) }

    /// The text of a string; `nil` for every other kind.
    func string(_ node: Int) -> String? {
        guard nodes[node].kind == .string else { return nil }
        return text(node).text
    }

    /// The strings of an array of strings; `nil` if it is none.
    func strings(_ node: Int) -> [String]? {
        guard kind(node) == .array else { return nil }
        var list: [String] = []
        let areStrings = forEachChild(of: node) { child in
            guard let text = string(child) else { return false }
            list.append(text)
            return true
        }
        return areStrings ? list : nil
    }

    /// Whether the value is a string of exactly these bytes.
    func isString(_ node: Int, _ text: String) -> Bool {
        nodes[node].kind == .string && self.text(node).equals(text.utf8Span.span)
    }

    /// The text of the string member of that name; `nil` when it is absent or no string.
    func string(_ name: StaticString, of object: Int) -> String? {
        member(name, of: object).flatMap { string($0) }
    }

    func range(_ range: Range<Int32>) -> Range<Int> {
        Int(range.lowerBound)..<Int(range.upperBound)
    }

    // MARK: Names

    /// FNV-1a: only a filter, every match is compared.
    static func hash(_ bytes: [UInt8], _ range: Range<Int32>) -> UInt32 {
        var hash: UInt32 = 2_166_136_261
        for index in range { hash = (hash ^ UInt32(bytes[Int(index)])) &* 16_777_619 }
        return hash
    }
}
