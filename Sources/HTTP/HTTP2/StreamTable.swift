/// The streams of a connection by their ids. The library tells of one stream many times in a row, with each field of a
/// head: the last one that was asked for is at hand.
struct StreamTable<Stream: AnyObject> {
    private var streams: [Int32: Stream] = [:]
    private var lastID: Int32 = 0
    private var last: Stream?

    var count: Int { streams.count }
    var ids: Dictionary<Int32, Stream>.Keys { streams.keys }

    subscript(id: Int32) -> Stream? {
        mutating get {
            if id == lastID, let last { return last }
            guard let stream = streams[id] else { return nil }
            lastID = id
            last = stream
            return stream
        }
        set {
            streams[id] = newValue
            lastID = id
            last = newValue
        }
    }

    /// Takes the stream out.
    mutating func remove(_ id: Int32) -> Stream? {
        if id == lastID { last = nil }
        return streams.removeValue(forKey: id)
    }

    /// Takes all streams out.
    mutating func removeAll() -> [Stream] {
        defer { self = StreamTable() }
        return Array(streams.values)
    }
}
