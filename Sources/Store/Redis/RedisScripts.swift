/// What must be done in one piece: Lua scripts, which Redis runs with nothing in between. Each is loaded when a
/// connection opens and called by its digest. (MULTI/EXEC cannot decide anything, and is refused even for reading
/// when Redis has no memory left.)
///
/// Numbers in Lua are doubles: times in microseconds are exact until the year 2255.
enum RedisScript: String, CaseIterable, Sendable {
    /// Makes the prefix ours where it is empty, and tells whose it is.
    /// KEYS: store, then all that would be somebody else's. ARGV: version, canary.
    case open = """
        local kind = redis.call('TYPE', KEYS[1]).ok
        if kind == 'none' then
            for i = 2, #KEYS do
                if redis.call('EXISTS', KEYS[i]) == 1 then return {} end
            end
            redis.call('HSET', KEYS[1], 'application', 'gatehouse',
                'version', ARGV[1], 'canary', ARGV[2])
        elseif kind ~= 'hash' then
            return {}
        end
        return redis.call('HMGET', KEYS[1], 'application', 'version', 'canary')
        """

    /// Joins the epoch, or begins one where what was there may be incomplete: there is none, or another process
    /// serves it than the one that it was begun on. Whoever joins an epoch that is new to it brings what it knows.
    ///
    /// Fields of an epoch: `id`, `run_id`; `floor` and `doubt`, at or below which nothing passes; `ahead:NAME`, the
    /// highest timestamp that the gateway NAME saw accepted ahead of the clock, all of them being here; `missing:NAME`,
    /// the same where they are not here.
    ///
    /// KEYS: epoch, then what this gateway saw accepted ahead of the clock. ARGV: the id that is known, run_id, a new
    /// id, the gateway's name, its highest timestamp ahead, the latest time of a server that it has seen, how many
    /// other gateways it knows of; for each of them the name and the highest timestamp ahead; for each further key the
    /// value and milliseconds.
    case join = """
        local time = tonumber(redis.call('TIME')[1])
        local fields, id, run = {}, nil, nil
        local stored = redis.call('HGETALL', KEYS[1])
        for i = 1, #stored, 2 do fields[stored[i]] = stored[i + 1] end
        id = fields.id
        if not id or fields.run_id ~= ARGV[2] then
            id = ARGV[3]
            local floor = math.max(tonumber(fields.floor or '') or 0,
                time + 3)
            for i = 1, #stored, 2 do
                local gateway = string.match(stored[i], '^ahead:(.+)$')
                if gateway then
                    redis.call('HDEL', KEYS[1], stored[i])
                    fields[stored[i]] = nil
                    fields['missing:' .. gateway] = stored[i + 1]
                end
            end
            fields.id, fields.run_id, fields.floor = id, ARGV[2], string.format('%.0f', floor)
        end
        if id ~= ARGV[1] then
            local floor = math.max(tonumber(fields.floor or '') or 0, tonumber(ARGV[6]))
            fields.floor = string.format('%.0f', floor)
            local peers = tonumber(ARGV[7])
            for i = 8, 6 + 2 * peers, 2 do
                local missing = 'missing:' .. ARGV[i]
                if not fields['ahead:' .. ARGV[i]] then
                    local known = tonumber(fields[missing] or '') or 0
                    local highest = math.max(known, tonumber(ARGV[i + 1]))
                    fields[missing] = string.format('%.0f', highest)
                end
            end
            for i = 2, #KEYS do
                local at = 8 + 2 * peers + 2 * (i - 2)
                redis.call('SET', KEYS[i], ARGV[at], 'NX', 'PX', ARGV[at + 1])
            end
            fields['missing:' .. ARGV[4]] = nil
            redis.call('HDEL', KEYS[1], 'missing:' .. ARGV[4])
            if tonumber(ARGV[5]) > time then fields['ahead:' .. ARGV[4]] = ARGV[5] end
        end
        local doubt = 0
        for name, value in pairs(fields) do
            if string.match(name, '^missing:') or string.match(name, '^ahead:') then
                if tonumber(value) <= time then
                    redis.call('HDEL', KEYS[1], name)
                    fields[name] = false
                elseif string.match(name, '^missing:') then
                    doubt = math.max(doubt, tonumber(value))
                end
            end
        end
        fields.doubt = string.format('%.0f', doubt)
        for name, value in pairs(fields) do
            if value then redis.call('HSET', KEYS[1], name, value) end
        end
        return id
        """

    /// The windows are kept as `SECONDS:TIMESTAMP …`, without those that a shorter one with a later timestamp
    /// covers; more than eight become the one that covers all.
    /// KEYS: epoch, the id. ARGV: the epoch's id, timestamp or '', milliseconds, the gateway's name, window in seconds
    /// or '', the epoch's field of windows.
    case once = """
        local epoch = redis.call('HMGET', KEYS[1], 'id', 'floor', 'doubt', ARGV[6])
        if epoch[1] ~= ARGV[1] then return {'epoch', '0'} end
        local seconds = redis.call('TIME')[1]
        local time, timestamp, window = tonumber(seconds), tonumber(ARGV[2]), tonumber(ARGV[5])
        local floor, doubt = tonumber(epoch[2]), tonumber(epoch[3] or '0')
        if timestamp and (time <= floor or timestamp <= math.max(floor, doubt)) then
            return {'forgotten', seconds}
        end
        if timestamp and window then
            local kept, isCovered = {}, false
            local shortest, latest = window, timestamp
            for length, last in string.gmatch(epoch[4] or '', '(%d+):(%d+)') do
                length, last = tonumber(length), tonumber(last)
                if length < window and timestamp <= last and timestamp <= time - length then
                    return {'window', seconds}
                end
                if length <= window and last >= timestamp then isCovered = true end
                if length < window or last > timestamp then
                    kept[#kept + 1] = string.format('%.0f:%.0f', length, last)
                end
                shortest, latest = math.min(shortest, length), math.max(latest, last)
            end
            if not isCovered then
                kept[#kept + 1] = string.format('%.0f:%.0f', window, timestamp)
                if #kept > 8 then kept = {string.format('%.0f:%.0f', shortest, latest)} end
                redis.call('HSET', KEYS[1], ARGV[6], table.concat(kept, ' '))
            end
        end
        if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then
            return {'reused', seconds}
        end
        if not timestamp or timestamp < time + 3 then return {'accepted', seconds} end
        local ahead = 'ahead:' .. ARGV[4]
        if timestamp > tonumber(redis.call('HGET', KEYS[1], ahead) or '0') then
            redis.call('HSET', KEYS[1], ahead, ARGV[2])
        end
        return {'ahead', seconds}
        """

    /// Counts a request in each of its limits, or in none, by the generic cell rate algorithm. What is kept of a limit is
    /// a microsecond of this server's clock, and how long from then on it takes until nothing is owed any more. It is kept
    /// apart, since the sum would be too long for a double; and where the clock has gone back, time stands still until it
    /// is written anew.
    /// KEYS: one for each limit. ARGV: for each the microseconds from one request to the next, and how many may come at
    /// once.
    /// Returns which limit is to be waited for longest, from 1, or 0; and for how many microseconds.
    case rates = """
        local clock = redis.call('TIME')
        local now = clock[1] * 1000000 + clock[2]
        local stored, owed, stale = redis.call('MGET', unpack(KEYS)), {}, {}
        local worst, longest = 0, 0
        for i = 1, #KEYS do
            local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
            local at, left = string.match(stored[i] or '', '^(%d+) ([%d.]+)$')
            at, left = tonumber(at), tonumber(left)
            if at and left then
                stale[i] = at > now
                owed[i] = math.min(math.max(left - math.max(now - at, 0), 0), burst * interval)
            else
                owed[i] = 0
            end
            local wait = owed[i] - (burst - 1) * interval
            if wait > longest then worst, longest = i, wait end
        end
        for i = 1, #KEYS do
            local left = owed[i]
            if worst == 0 then left = left + tonumber(ARGV[2 * i - 1]) end
            if worst == 0 or stale[i] then
                redis.call('SET', KEYS[i], string.format('%.0f %.3f', now, left),
                    'PX', string.format('%.0f', math.floor(left / 1000) + 1))
            end
        end
        return {worst, math.ceil(longest)}
        """

    /// KEYS: the token that goes, the one that comes. ARGV: now in seconds, the one that comes, milliseconds.
    case exchange = """
        local value = redis.call('GET', KEYS[1])
        if not value then return 0 end
        local isJSON, token = pcall(cjson.decode, value)
        if not isJSON or type(token) ~= 'table' or type(token.expires_at) ~= 'number' then
            return redis.error_reply('CORRUPT a token is not what was written')
        end
        if token.expires_at <= tonumber(ARGV[1]) then return 0 end
        redis.call('DEL', KEYS[1])
        if tonumber(ARGV[3]) > 0 then
            redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
        end
        return 1
        """

    /// Numbers go up with the clock, so that none is given twice even after some were lost. One more than a day ahead of it
    /// was never given, and is not counted on from: where doubles have no room for the next, nobody would hear of it.
    /// The hash comes last: where one of the others cannot be written, who tries again is not told that all is there.
    /// KEYS: last, revocations, order, expiry. ARGV: target, issued before, until.
    case revoke = """
        local before, ends = tonumber(ARGV[2]), tonumber(ARGV[3])
        local value = redis.call('HGET', KEYS[2], ARGV[1])
        local isJSON, old = pcall(cjson.decode, value or '')
        if isJSON and type(old) == 'table' and type(old.issued_before) == 'number'
            and type(old['until']) == 'number' then
            if old.issued_before >= before and old['until'] >= ends then return 0 end
            before = math.max(before, old.issued_before)
            ends = math.max(ends, old['until'])
        end
        local clock = redis.call('TIME')
        local time = clock[1] * 1000000 + clock[2]
        local last = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
        if not (last <= time + 86400000000) then last = 0 end
        last = math.max(last + 1, time)
        redis.call('SET', KEYS[1], string.format('%.0f', last))
        redis.call('ZADD', KEYS[3], string.format('%.0f', last), ARGV[1])
        redis.call('ZADD', KEYS[4], string.format('%.0f', ends), ARGV[1])
        redis.call('HSET', KEYS[2], ARGV[1],
            string.format('{"issued_before":%.0f,"until":%.0f}', before, ends))
        return 1
        """

    /// The oldest behind a number; all of them where that number was never given. That is asked of the first page alone:
    /// what was given last may be lost, and the next page begins behind a number that was read.
    /// KEYS: last, revocations, order. ARGV: number, at most how many, 1 for the first page.
    case revocations = """
        local last = redis.call('GET', KEYS[1]) or '0'
        local from = '(' .. ARGV[1]
        if ARGV[3] == '1' and tonumber(ARGV[1]) > (tonumber(last) or 0) then from = '-inf' end
        local found = redis.call('ZRANGEBYSCORE', KEYS[3], from, '+inf', 'WITHSCORES',
            'LIMIT', 0, ARGV[2])
        local answer = {last}
        for i = 1, #found, 2 do
            answer[#answer + 1] = string.format('%.0f', found[i + 1])
            answer[#answer + 1] = found[i]
            answer[#answer + 1] = redis.call('HGET', KEYS[2], found[i]) or ''
        end
        return answer
        """

    /// KEYS: revocations, order, expiry. ARGV: now in seconds, at most how many.
    case purge = """
        local found = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
        for i = 1, #found do
            redis.call('HDEL', KEYS[1], found[i])
            redis.call('ZREM', KEYS[2], found[i])
            redis.call('ZREM', KEYS[3], found[i])
        end
        return #found
        """

    /// Notes who is declared now, and tells those clients of confs that have left: no gateway has declared them for ARGV[1]
    /// seconds, of which somebody was there all the time to see that. While nobody was, none has left. For each its id, when
    /// it was declared last, from when on that was seen, and 1 if it lives on in the store. They stay as they are until
    /// `forget`, also where they are declared now.
    /// KEYS: declared, clients. ARGV: seconds, then the ids.
    case declare = """
        local time, limit = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1])
        local marks = redis.call('HMGET', KEYS[1], 'seen', 'since')
        local seen, since = tonumber(marks[1] or ''), tonumber(marks[2] or '')
        if not seen or not since or time - seen > limit / 2 then since = time end
        redis.call('HSET', KEYS[1], 'seen', time, 'since', since)
        local stored, left, away = redis.call('HGETALL', KEYS[1]), {}, {}
        for i = 1, #stored, 2 do
            local id = string.match(stored[i], '^client:(.*)$')
            local last = tonumber(stored[i + 1])
            if id and time - math.max(last or 0, since) > limit then
                away[id] = true
                left[#left + 1] = id
                left[#left + 1] = stored[i + 1]
                left[#left + 1] = string.format('%.0f', last and math.max(last, since) or 0)
                left[#left + 1] = redis.call('HGET', KEYS[2], id) and '1' or '0'
            end
        end
        for i = 2, #ARGV do
            if not away[ARGV[i]] then redis.call('HSET', KEYS[1], 'client:' .. ARGV[i], time) end
        end
        return left
        """

    /// Forgets those that have left, unless somebody has declared them meanwhile, and notes those that are back.
    /// KEYS: declared. ARGV: for each its id, when it was declared last, and 1 if it is declared now.
    case forget = """
        local time = redis.call('TIME')[1]
        for i = 1, #ARGV, 3 do
            local field = 'client:' .. ARGV[i]
            if redis.call('HGET', KEYS[1], field) == ARGV[i + 1] then
                redis.call('HDEL', KEYS[1], field)
            end
            if ARGV[i + 2] == '1' then redis.call('HSET', KEYS[1], field, time) end
        end
        return 1
        """

    /// Clients and keys as they stand together.
    /// KEYS: generation, clients, keys.
    case read = """
        return {redis.call('GET', KEYS[1]) or '', redis.call('HGETALL', KEYS[2]),
            redis.call('HGETALL', KEYS[3])}
        """

    /// Changes clients and keys if nobody has since they were read; so that whatever a change depends on may be
    /// decided here, and this one script is enough for all of them. Generations go up as the numbers of revocations do.
    /// KEYS: generation, clients, keys. ARGV: the generation that was read or '', then for each change
    /// 2 or 3 (which of KEYS), the field, the new value or '' to remove it.
    case change = """
        local generation = redis.call('GET', KEYS[1]) or ''
        if generation ~= ARGV[1] then return 0 end
        for i = 2, #ARGV, 3 do
            local key = KEYS[tonumber(ARGV[i])]
            if ARGV[i + 2] == '' then
                redis.call('HDEL', key, ARGV[i + 1])
            else
                redis.call('HSET', key, ARGV[i + 1], ARGV[i + 2])
            end
        end
        local clock = redis.call('TIME')
        local time = clock[1] * 1000000 + clock[2]
        local last = tonumber(generation) or 0
        if not (last <= time + 86400000000) then last = 0 end
        redis.call('SET', KEYS[1], string.format('%.0f', math.max(last + 1, time)))
        return 1
        """
}

/// The keys under a prefix.
struct RedisKeys: Sendable {
    let prefix: String

    /// A hash: whose all this is, and what tells a wrong secrets key.
    var store: String { prefix + "store" }
    /// A hash: id, floor and run_id.
    var epoch: String { prefix + "epoch" }
    /// Hashes of JSON, by client id and kid.
    var clients: String { prefix + "clients" }
    var signingKeys: String { prefix + "signing_keys" }
    /// Grows with each change of those two.
    var generation: String { prefix + "generation" }
    /// A hash: `client:ID` of each client that a conf declares, with the second in which a gateway said so last; `seen`,
    /// when any gateway did, and `since`, from when on there always was one.
    var declared: String { prefix + "declared" }
    /// A hash of JSON by target; the number given last; targets by number, and by when they may go.
    var revocations: String { prefix + "revocations" }
    var lastRevocation: String { prefix + "revocations:last" }
    var revocationOrder: String { prefix + "revocations:order" }
    var revocationExpiry: String { prefix + "revocations:expiry" }

    var tokens: String { prefix + "token:" }
    var onceIDs: String { prefix + "once:" }
    var rates: String { prefix + "rate:" }

    /// JSON, until it expires.
    func token(_ id: [UInt8]) -> String { tokens + HexBytes(id).text }
    /// A moment and what was owed then, until nothing is.
    func rate(_ id: [UInt8]) -> String { rates + HexBytes(id).text }
    /// The timestamp or nothing, until it expires.
    func once(_ id: OneTimeID) -> String {
        "\(onceIDs)\(id.space.rawValue):\(HexBytes(id.fingerprint).text)"
    }
}
