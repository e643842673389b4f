//! Whether a request without a response is sent again, and where to: a pure decision.
//!
//! | left of the request | connection | attempt on this server | next |
//! |---|---|---|---|
//! | [`Unsent`](Left::Unsent) | none was to be had | any | another server |
//! | [`Unsent`](Left::Unsent) | any | first | a newer connection |
//! | [`Unsent`](Left::Unsent) | any | second | another server |
//! | [`Unheard`](Left::Unheard), may be repeated | reused | first | a newer connection |
//! | [`Unheard`](Left::Unheard), may be repeated | new | any | another server, once |
//! | [`Unheard`](Left::Unheard), may be repeated | reused | second | another server, once |
//! | all else | any | any | none |
//!
//! What no server has seen may go to any number of servers, whatever its method. What a server may have seen may be
//! repeated if the method is idempotent (RFC 9110 section 9.2.2) and it was the connection that broke: one that had
//! been in use before may have been closed by its server just as the request was written, and a server that breaks off
//! a new one may have died. Such a request leaves one server at most. Whether there is another server to go to, and
//! time to wait for it, is found by `select`.

use super::failure::{Left, Unanswered};

/// An attempt to have a request answered that came to nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// The method of the request is idempotent (RFC 9110 section 9.2.2).
    pub(super) is_idempotent: bool,
    /// What it was sent on; none if the server took no connection.
    pub(super) connection: Option<Age>,
    /// It was the first on its server; a second one is on a newer connection.
    pub(super) is_first: bool,
    /// The request has left a server before that may have seen it.
    pub(super) has_left_in_doubt: bool,
}

/// Whether a connection has had requests before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It was opened for this one.
    New,
    /// It has had others.
    Reused,
}

/// Where a request is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// To the same server, on a connection that is newer than the last one.
    SameServer,
    /// To another server. `in_doubt`: this one may have seen it.
    OtherServer { in_doubt: bool },
    /// Nowhere: the client is told of the failure.
    Never,
}

/// Where the request of `attempt` goes next.
pub(super) fn next<B, E>(attempt: &Attempt, unanswered: &Unanswered<B, E>) -> Retry {
    let Unanswered { failure, left } = unanswered;
    let may_be_repeated = attempt.is_idempotent && failure.is_broken_connection();
    match (left, attempt.connection) {
        (Left::Unsent(_), Some(_)) if attempt.is_first => Retry::SameServer,
        (Left::Unsent(_), _) => Retry::OtherServer { in_doubt: false },
        (Left::Unheard(_), _) if !may_be_repeated => Retry::Never,
        (Left::Unheard(_), Some(Age::Reused)) if attempt.is_first => Retry::SameServer,
        (Left::Unheard(_), _) if !attempt.has_left_in_doubt => Retry::OtherServer { in_doubt: true },
        (Left::Unheard(_) | Left::Nothing, _) => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use router_http1::{EncodeError, Violation};

    use super::{
        super::{
            connect::{ConnectError, NoPlace},
            failure::{ExchangeError, Failure, Http1Error},
        },
        *,
    };

    const NEW: Option<Age> = Some(Age::New);
    const REUSED: Option<Age> = Some(Age::Reused);
    const ELSEWHERE: Retry = Retry::OtherServer { in_doubt: false };
    const IN_DOUBT: Retry = Retry::OtherServer { in_doubt: true };

    const FIRST: Attempt = Attempt { is_idempotent: true, connection: NEW, is_first: true, has_left_in_doubt: false };

    fn next(attempt: Attempt, failure: Failure<()>, left: Left<()>) -> Retry {
        super::next(&attempt, &Unanswered { failure, left })
    }

    /// A connection that broke without a word of the server.
    fn broken() -> [Failure<()>; 2] {
        [Http1Error::Closed, Http1Error::Io(io::ErrorKind::ConnectionReset.into())]
            .map(|error| Failure::Broken(ExchangeError::Http1(error)))
    }

    /// No connection.
    fn unreached() -> [Failure<()>; 6] {
        let (server, limit) = (|| "http://s".into(), Duration::from_secs(5));
        let source = || io::Error::from(io::ErrorKind::ConnectionRefused);
        [
            ConnectError::Failed { server: server(), source: source() },
            ConnectError::TimedOut { server: server(), limit },
            ConnectError::Shortage { server: server(), source: source() },
            ConnectError::Unresolved { server: server(), why: "no answer".into() },
            ConnectError::Tls { server: server(), source: source() },
            ConnectError::NoPlace(NoPlace::AllDown),
        ]
        .map(Failure::Connect)
    }

    /// What ends an exchange other than its connection: the server by its answer, the time, or the client.
    fn ended() -> [Failure<()>; 8] {
        let limit = Duration::from_secs(60);
        let http1 = |error| Failure::Broken(ExchangeError::Http1(error));
        [
            http1(Http1Error::Malformed(Violation { section: "RFC 9112 section 4", what: "its status line" })),
            http1(Http1Error::Length(EncodeError::TooShort)),
            Failure::Switched,
            Failure::Coded,
            Failure::TooLarge,
            Failure::TimedOut(limit),
            Failure::RequestLate(limit),
            Failure::Request(()),
        ]
    }

    fn attempts() -> impl Iterator<Item = Attempt> {
        (0..24_u8).map(|number| Attempt {
            is_idempotent: number & 1 == 0,
            is_first: number & 2 == 0,
            has_left_in_doubt: number & 4 == 0,
            connection: [None, NEW, REUSED][usize::from(number / 8)],
        })
    }

    #[test]
    fn what_a_server_may_have_seen_is_repeated_once_here_and_once_elsewhere() {
        // Idempotent, connection, first on its server, has left another in doubt.
        let table = [
            (true, REUSED, true, false, Retry::SameServer),
            (true, REUSED, true, true, Retry::SameServer),
            (true, REUSED, false, false, IN_DOUBT),
            (true, REUSED, false, true, Retry::Never),
            (true, NEW, true, false, IN_DOUBT),
            (true, NEW, true, true, Retry::Never),
            (true, NEW, false, false, IN_DOUBT),
            (true, NEW, false, true, Retry::Never),
            (false, REUSED, true, false, Retry::Never),
            (false, REUSED, true, true, Retry::Never),
            (false, REUSED, false, false, Retry::Never),
            (false, REUSED, false, true, Retry::Never),
            (false, NEW, true, false, Retry::Never),
            (false, NEW, true, true, Retry::Never),
            (false, NEW, false, false, Retry::Never),
            (false, NEW, false, true, Retry::Never),
        ];
        for (is_idempotent, connection, is_first, has_left_in_doubt, expected) in table {
            let attempt = Attempt { is_idempotent, connection, is_first, has_left_in_doubt };
            for failure in broken() {
                assert_eq!(next(attempt, failure, Left::Unheard(())), expected, "{attempt:?}");
            }
        }
    }

    #[test]
    fn what_no_server_saw_goes_on_whatever_the_method() {
        for attempt in attempts() {
            let expected = match (attempt.connection, attempt.is_first) {
                // A connection that was closing: GOAWAY, or the server's FIN.
                (Some(_), true) => Retry::SameServer,
                (Some(_), false) | (None, _) => ELSEWHERE,
            };
            for failure in broken().into_iter().chain(ended()) {
                assert_eq!(next(attempt, failure, Left::Unsent(())), expected, "{attempt:?}");
            }
        }
    }

    #[test]
    fn a_server_that_takes_no_connection_is_not_asked_again() {
        for attempt in attempts().filter(|attempt| attempt.connection.is_none()) {
            for failure in unreached() {
                assert_eq!(next(attempt, failure, Left::Unsent(())), ELSEWHERE, "{attempt:?}");
            }
        }
    }

    #[test]
    fn what_was_answered_or_late_or_broken_off_by_its_client_is_not_sent_again() {
        for attempt in attempts() {
            for failure in ended() {
                let name = failure.to_string();
                assert_eq!(next(attempt, failure, Left::Unheard(())), Retry::Never, "{name}: {attempt:?}");
            }
        }
    }

    #[test]
    fn a_request_whose_content_is_used_up_is_not_sent_again() {
        for attempt in attempts() {
            for failure in broken().into_iter().chain(ended()).chain(unreached()) {
                let name = failure.to_string();
                assert_eq!(next(attempt, failure, Left::Nothing), Retry::Never, "{name}: {attempt:?}");
            }
        }
    }

    /// What one request does that meets with `left` on each attempt: its servers and the age of the connection each
    /// time, the first connection to each server being of that `age`.
    fn sent(is_idempotent: bool, age: Option<Age>, left: fn(()) -> Left<()>) -> Vec<(usize, Option<Age>)> {
        const SERVERS: usize = 4;
        let mut attempt = Attempt { is_idempotent, connection: age, ..FIRST };
        let (mut server, mut sent) = (0, Vec::new());
        while server < SERVERS {
            sent.push((server, attempt.connection));
            match next(attempt, Failure::Broken(ExchangeError::Http1(Http1Error::Closed)), left(())) {
                Retry::SameServer => (attempt.connection, attempt.is_first) = (NEW, false),
                Retry::OtherServer { in_doubt } => {
                    server += 1;
                    (attempt.connection, attempt.is_first) = (age, true);
                    attempt.has_left_in_doubt |= in_doubt;
                }
                Retry::Never => break,
            }
        }
        sent
    }

    /// The whole way of a request where every attempt fails.
    #[test]
    fn no_request_goes_round_for_ever() {
        assert_eq!(sent(true, NEW, Left::Unheard), [(0, NEW), (1, NEW)]);
        assert_eq!(sent(true, REUSED, Left::Unheard), [(0, REUSED), (0, NEW), (1, REUSED), (1, NEW)]);
        assert_eq!(sent(false, NEW, Left::Unheard), [(0, NEW)]);
        assert_eq!(sent(false, REUSED, Left::Unheard), [(0, REUSED)]);
        for is_idempotent in [true, false] {
            let twice = (0..4).flat_map(|server| [(server, REUSED), (server, NEW)]);
            assert_eq!(sent(is_idempotent, REUSED, Left::Unsent), twice.collect::<Vec<_>>());
            let once = [0, 1, 2, 3].map(|server| (server, None));
            assert_eq!(sent(is_idempotent, None, Left::Unsent), once);
        }
    }
}
