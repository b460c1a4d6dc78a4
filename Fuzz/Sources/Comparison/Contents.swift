/// The content of each stream that a session has told, of one run or another over the same input.
public typealias Contents = [Int32: [UInt8]]

/// Whether two runs have told the same content, whatever pieces it came in.
///
/// Content that is longer than it was said to be is found to be so with the piece that goes too far: of a message that did not
/// become whole one run may tell more than the other, never anything else.
///
/// - Parameter isWhole: whether the stream's message became whole in both.
public func agree(
    _ first: Contents, _ second: Contents, isWhole: (_ streamID: Int32) -> Bool
) -> Bool {
    Set(first.keys).union(second.keys).allSatisfy { streamID in
        let (one, other) = (first[streamID] ?? [], second[streamID] ?? [])
        return isWhole(streamID) ? one == other : one.starts(with: other) || other.starts(with: one)
    }
}
