/// A property that says where a value came from, not what it is: two values that differ only here
/// are equal.
@propertyWrapper
public struct NotCompared<Value: Sendable>: Sendable, Equatable {
    public var wrappedValue: Value

    public init(wrappedValue: Value) {
        self.wrappedValue = wrappedValue
    }

    public static func == (left: Self, right: Self) -> Bool { true }
}
