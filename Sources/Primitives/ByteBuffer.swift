/// Memory of a fixed size that the loop reads into: allocated once, reused for ever, read through bounds-checked spans.
///
/// The owner writes through `fill`, which hands the free tail to a system call and takes back how much was
/// written; everything else sees `readable`. A worker owns a few of these; connections own none while idle.
@safe public final class ByteBuffer {
    private let memory: UnsafeMutableRawBufferPointer
    /// How many bytes, from the start, hold data.
    public var count: Int { used }
    // Of this module alone, so that the compiler proves its accesses exclusive.
    private var used = 0

    public var capacity: Int { unsafe memory.count }

    public init(capacity: Int) {
        precondition(capacity > 0)
        unsafe memory = .allocate(byteCount: capacity, alignment: 16)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        unsafe memory.deallocate()
    }

    public func removeAll() {
        used = 0
    }

    /// Lets `write` (a `read(2)`, say) put bytes behind those that are there.
    ///
    /// - Parameter write: gets the free tail, returns how many bytes it wrote; a negative number is passed on.
    /// - Returns: what `write` returned.
    @inline(__always)
    public func fill(_ write: (UnsafeMutableRawBufferPointer) -> Int) -> Int {
        let written = unsafe write(UnsafeMutableRawBufferPointer(rebasing: memory[used...]))
        precondition(written <= capacity - used)
        if written > 0 { used += written }
        return written
    }

    /// The bytes that were read, as long as the buffer is not written to again.
    public var readable: Span<UInt8> {
        @_lifetime(borrow self)
        get {
            let bytes = unsafe UnsafeBufferPointer(
                start: UnsafePointer(memory.baseAddress?.assumingMemoryBound(to: UInt8.self)),
                count: used)
            return unsafe _overrideLifetime(Span(_unsafeElements: bytes), borrowing: self)
        }
    }
}
