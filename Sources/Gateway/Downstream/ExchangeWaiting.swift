import Store

/// Waiting for the store: the exchange is put aside, and goes on when the answer has come.
extension Exchange {
    /// Asks the store, and goes on with `next` on the loop. Nobody is told when the exchange has ended meanwhile.
    ///
    /// A closure, since what waits for the store costs a disk or a network anyway; what does not wait never comes here.
    ///
    /// - Parameter settling: done with the answer in any case, on another thread.
    func ask<Value: Sendable>(
        _ operation: StoreOperation<Value>,
        settling: @escaping @Sendable (Result<Value, StoreError>) -> Void = { _ in },
        then next: @escaping (Exchange, Result<Value, StoreError>) -> Void
    ) {
        let ticket = worker.waiting.add(self)
        stage = .suspended(ticket)
        whenAnswered = { exchange, answer in
            guard let result = answer as? Result<Value, StoreError> else {
                return exchange.refuse(.internalError)
            }
            next(exchange, result)
        }
        let shared = worker.shared
        let index = worker.index
        shared.store.submit(operation) { result in
            settling(result)
            shared.post(.resume(ticket: ticket, .storeAnswered(result)), to: index)
        }
    }

    /// Asks the store for what the request cannot do without: where it is away, the request is refused.
    func require<Value: Sendable>(
        _ operation: StoreOperation<Value>, then next: @escaping (Exchange, Value) -> Void
    ) {
        ask(operation) { exchange, result in
            switch result {
            case .success(let value): next(exchange, value)
            case .failure: exchange.refuse(.storeUnavailable)
            }
        }
    }
}
