//! States and kinds, each a word in JSON. Inside they are types; a word that a newer agent says and this program does not
//! know is `unknown`.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$of_word:meta])* $variant:ident = $word:literal,)+ }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of_word])* #[serde(rename = $word)] $variant,)+
            /// A word of a newer agent.
            #[serde(rename = "unknown", other)]
            Unknown,
        }

        impl $name {
            /// All that are known.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As JSON says it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Unknown => "unknown",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        /// For who sees the JSON alone: a laboratory, a script.
        impl PartialEq<&str> for $name {
            fn eq(&self, word: &&str) -> bool {
                self.as_str() == *word
            }
        }
    )+};
}

words! {
    /// What becomes of packets from a prefix in the block list.
    BlockAction {
        Allow = "allow",
        Challenge = "challenge",
        Drop = "drop",
    }

    /// Whether clients are asked to show that they receive at their address.
    Challenge {
        Auto = "auto",
        Always = "always",
        Never = "never",
    }

    /// What a generation does.
    GenerationState {
        /// It gets ready.
        Preparing = "preparing",
        Serving = "serving",
        /// It serves while the next one gets ready.
        HandingOver = "handing over",
        /// The next one has taken over.
        Draining = "draining",
    }

    /// What brings packets from an interface; what the configuration asks for may be `auto`, which this never is.
    RunningEngine {
        AfXdp = "af_xdp",
        Xdp = "xdp",
        Reuseport = "reuseport",
        Userspace = "userspace",
    }

    /// Where an XDP program runs.
    XdpMode {
        /// In the driver.
        Native = "native",
        /// In the stack, behind the driver.
        Generic = "generic",
    }

    /// How frames come to an AF_XDP socket.
    QueueMode {
        ZeroCopy = "zero-copy",
        Copy = "copy",
    }

    /// Where a listener's certificates come from.
    CertificateSource {
        Files = "files",
        SelfSigned = "self-signed",
    }

    /// Whether a listener takes new connections.
    ListenerState {
        Open = "open",
        /// No longer configured; its connections have some time left.
        Closing = "closing",
    }

    /// How a server is.
    Health {
        Up = "up",
        /// It came back, and its share grows.
        Warming = "warming",
        /// It failed requests, and is left alone for a while.
        Ejected = "ejected",
        /// Health checks say so.
        Down = "down",
    }

    /// What a worker does.
    WorkerState {
        Active = "active",
        /// It gets no new connections.
        Draining = "draining",
        /// It drains, and then it ends.
        Leaving = "leaving",
        Ended = "ended",
    }

    /// What an operator says of a node of the cluster.
    NodeOrder {
        /// It gets no new connections.
        Drain = "drain",
        /// It gets them again.
        Undrain = "undrain",
        /// It does not come back: others answer its clients, and nothing waits for it.
        Forget = "forget",
    }

    /// What a node of the cluster counts as.
    NodeState {
        /// It takes new connections, and packets of those it has.
        Up = "up",
        /// It takes packets of those it has.
        Draining = "draining",
        /// It has not been heard for some seconds: packets are sent on to it all the same.
        Silent = "silent",
        /// It has not been heard for longer than `cluster.dead_after`: packets for it are dropped.
        Unreachable = "unreachable",
        /// It is gone for good: others answer its clients with stateless resets.
        Gone = "gone",
    }

    /// Who made a connection ID.
    FlowOrigin {
        /// The agent.
        Issued = "issued",
        /// The client, for its first flight.
        Chosen = "chosen",
    }

    /// What a configuration of connection IDs is for.
    CidState {
        /// Decoded, and issued by later: all nodes of a cluster decode by it first.
        Announced = "announced",
        /// New connection IDs follow it.
        Issuing = "issuing",
        /// It is only decoded, and is removed when no connection uses it.
        Retiring = "retiring",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_in_json_and_in_text() {
        for &state in GenerationState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
        assert_eq!(serde_json::from_str::<GenerationState>("\"handing over\"").unwrap(), GenerationState::HandingOver);
        assert_eq!(format!("{:<10}|", WorkerState::Active), "active    |");
        assert!(WorkerState::Active == "active" && WorkerState::Active != "draining");
    }

    #[test]
    fn a_newer_agents_word_is_no_error() {
        assert_eq!(serde_json::from_str::<Health>("\"resting\"").unwrap(), Health::Unknown);
    }
}
