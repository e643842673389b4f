//! Asking clients to go elsewhere.

use tokio::sync::watch;

/// The word that connections are to end, and later that they have to; given once, for all that
/// were handed a [`Draining`].
///
/// The client of an HTTP/3 connection is then sent a GOAWAY (RFC 9114 section 5.2), and the
/// connection closed when the client has been silent for a few seconds. What it asks until then
/// is served.
///
/// Raw QUIC knows no such word: those connections stay until they end or have to.
#[derive(Debug)]
pub struct Drain(watch::Sender<Stage>);

/// Where a connection hears it.
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<Stage>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Open,
    Begun,
    Over,
}

impl Drain {
    /// Not given yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(Stage::Open))
    }

    /// Asks connections to end, those that come later too.
    pub fn begin(&self) {
        self.0.send_replace(Stage::Begun);
    }

    /// What is left has to end now.
    pub fn end(&self) {
        self.0.send_replace(Stage::Over);
    }

    /// Takes it back. Clients that were asked to go may still do so.
    pub fn cancel(&self) {
        self.0.send_replace(Stage::Open);
    }

    /// For one connection.
    pub fn hear(&self) -> Draining {
        Draining(self.0.subscribe())
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Draining {
    /// Waits until the connection is asked to end.
    pub async fn begun(&mut self) {
        self.at_least(Stage::Begun).await;
    }

    /// Waits until nothing is to end (any more).
    pub async fn open(&mut self) {
        if self.0.wait_for(|now| *now == Stage::Open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the connection has to end.
    pub async fn over(&mut self) {
        self.at_least(Stage::Over).await;
    }

    /// Without a [`Drain`] to give the word any more, for ever.
    async fn at_least(&mut self, stage: Stage) {
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
