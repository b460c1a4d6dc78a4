/// Finds the route of a path: the exact one if there is one, else that with the longest prefix.
///
/// A radix tree over bytes in flat arrays, built once. A look-up reads the bytes of the path at most once
/// and visits one node per branching, so a hundred routes cost about what one costs.
struct PathTree: Sendable {
    struct Entry {
        var path: [UInt8]
        var isExact: Bool
        var route: Int
    }

    private struct Node {
        /// The bytes that lead from the parent's end to this node's, in `labels`.
        var labelStart: Int32
        var labelCount: Int32
        /// The route whose prefix ends here; -1 for none.
        var prefixRoute: Int32 = -1
        /// The route whose whole path ends here; -1 for none.
        var exactRoute: Int32 = -1
        /// The children stand side by side, in the order of their first bytes.
        var firstChild: Int32 = 0
        var childCount: Int32 = 0
    }

    private var nodes: [Node] = []
    /// The first byte of each node's label, so that a search among siblings stays in one array.
    private var firstBytes: [UInt8] = []
    private var labels: [UInt8] = []

    /// - Parameter entries: in the order of the conf; of two with the same path and kind the first counts.
    init(_ entries: [Entry]) {
        // Sorted, all paths with a common prefix stand together, and what the first and the last of such a
        // run have in common all of them have.
        let sorted = entries.sorted {
            $0.path == $1.path ? $0.route < $1.route : $0.path.lexicographicallyPrecedes($1.path)
        }
        guard !sorted.isEmpty else { return }
        appendNode(sorted, 0..<sorted.count, from: 0)
        // A queue instead of recursion: siblings come to stand side by side.
        var pending = [(node: 0, range: 0..<sorted.count, depth: 0)]
        var next = 0
        while next < pending.count {
            let (node, range, start) = pending[next]
            next += 1
            let depth = start + Int(nodes[node].labelCount)
            var low = range.lowerBound
            while low < range.upperBound, sorted[low].path.count == depth {
                if sorted[low].isExact {
                    if nodes[node].exactRoute < 0 {
                        nodes[node].exactRoute = Int32(sorted[low].route)
                    }
                } else if nodes[node].prefixRoute < 0 {
                    nodes[node].prefixRoute = Int32(sorted[low].route)
                }
                low += 1
            }
            nodes[node].firstChild = Int32(nodes.count)
            while low < range.upperBound {
                let byte = sorted[low].path[depth]
                let end =
                    sorted[low..<range.upperBound].firstIndex { $0.path[depth] != byte }
                    ?? range.upperBound
                pending.append((nodes.count, low..<end, depth))
                appendNode(sorted, low..<end, from: depth)
                nodes[node].childCount += 1
                low = end
            }
        }
    }

    private mutating func appendNode(_ sorted: [Entry], _ range: Range<Int>, from depth: Int) {
        let first = sorted[range.lowerBound].path
        let last = sorted[range.upperBound - 1].path
        var end = depth
        while end < first.count, end < last.count, first[end] == last[end] { end += 1 }
        nodes.append(Node(labelStart: Int32(labels.count), labelCount: Int32(end - depth)))
        firstBytes.append(depth < end ? first[depth] : 0)
        labels.append(contentsOf: first[depth..<end])
    }

    /// The route of `path`, or `nil` when no exact path equals it and no prefix begins it.
    func route(of path: Span<UInt8>) -> Int? {
        var best: Int32 = -1
        var position = 0
        var index = 0
        while index < nodes.count {
            let node = nodes[index]
            let count = Int(node.labelCount)
            guard path.count - position >= count else { break }
            let label = Int(node.labelStart)
            var matched = 0
            while matched < count, labels[label + matched] == path[position + matched] {
                matched += 1
            }
            guard matched == count else { break }
            position += count
            if node.prefixRoute >= 0 { best = node.prefixRoute }
            guard position < path.count else {
                if node.exactRoute >= 0 { best = node.exactRoute }
                break
            }
            guard let child = child(of: node, beginningWith: path[position]) else { break }
            index = child
        }
        return best >= 0 ? Int(best) : nil
    }

    private func child(of node: Node, beginningWith byte: UInt8) -> Int? {
        var low = Int(node.firstChild)
        var high = low + Int(node.childCount)
        while low < high {
            let middle = (low + high) / 2
            if firstBytes[middle] == byte { return middle }
            if firstBytes[middle] < byte { low = middle + 1 } else { high = middle }
        }
        return nil
    }
}
