import Configuration

/// `strip_prefix` and `rewrite` of a route: what the upstream sees instead of the path that was matched.
///
/// A prefix is replaced only where a segment ends behind it, so that what remains is made of whole segments
/// of the path that was judged: with `strip_prefix /api` the path `/apix` stays as it is. The result always
/// begins with `/` and has exactly one slash at the seam.
struct PathRewrites: Sendable {
    private struct Step {
        let from: [UInt8]
        let to: [UInt8]
    }
    private let strip: Step?
    private let steps: [Step]

    init(strip: String?, rewrites: [Rewrite]) {
        self.strip = strip.map { Step(from: Array($0.utf8), to: []) }
        steps = rewrites.map { Step(from: Array($0.from.utf8), to: Array($0.to.utf8)) }
    }

    /// Appends the path for the upstream: first the prefix is stripped, then the first rewrite that matches
    /// what is left is applied.
    func append(_ path: Span<UInt8>, to output: inout [UInt8]) {
        guard strip != nil || !steps.isEmpty else { return output.append(path) }
        var copied: [UInt8] = []
        copied.append(path)
        var remainder = copied[...]
        if let strip, let rest = Self.remainder(of: remainder, behind: strip.from) {
            remainder = rest
        }
        for step in steps {
            // A path that was stripped to nothing is "/", and that is what a rewrite is matched against.
            let subject = remainder.isEmpty ? [0x2F] : remainder
            guard let rest = Self.remainder(of: subject, behind: step.from) else { continue }
            Self.append(step.to, then: rest, to: &output)
            return
        }
        Self.append([], then: remainder, to: &output)
    }

    /// What follows `prefix`; `nil` where it does not match or would cut a segment in two.
    private static func remainder(
        of path: ArraySlice<UInt8>, behind prefix: [UInt8]
    ) -> ArraySlice<UInt8>? {
        guard path.starts(with: prefix) else { return nil }
        let rest = path.dropFirst(prefix.count)
        return rest.isEmpty || rest.first == 0x2F || prefix.last == 0x2F ? rest : nil
    }

    private static func append(
        _ prefix: [UInt8], then rest: ArraySlice<UInt8>, to output: inout [UInt8]
    ) {
        if prefix.first != 0x2F, rest.first != 0x2F || !prefix.isEmpty { output.append(0x2F) }
        output.append(contentsOf: prefix)
        let endsWithSlash = prefix.last == 0x2F
        if endsWithSlash, rest.first == 0x2F {
            output.append(contentsOf: rest.dropFirst())
        } else {
            if !endsWithSlash, !prefix.isEmpty, !rest.isEmpty, rest.first != 0x2F {
                output.append(0x2F)
            }
            output.append(contentsOf: rest)
        }
    }
}
